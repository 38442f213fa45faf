package keysecret

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

const namespace = "keygate-keys"

// newSealer makes a Sealer or fails the test. Each key is of equal bytes.
func newSealer(tb testing.TB, keys map[int]byte) *Sealer {
	tb.Helper()
	byVersion := map[int][]byte{}
	for version, b := range keys {
		byVersion[version] = bytes.Repeat([]byte{b}, SealKeySize)
	}
	s, err := NewSealer(byVersion)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func record(b byte) *apikey.Record {
	return &apikey.Record{
		Digest: apikey.Digest{b}, Pepper: 1,
		Owner: apikey.Ref{Namespace: "acme", Name: "ci", UID: "uid-1"}, Serial: 1,
		Policy: apikey.Ref{Namespace: "platform", Name: "stepsies", UID: "uid-2"},
		State:  apikey.Active, Scopes: []string{"read"}, IssuedAt: time.Unix(1, 0).UTC(),
	}
}

func source() *policy.Source {
	return &policy.Source{
		Namespace: "platform", Name: "stepsies", UID: "uid-2", Created: time.Unix(2, 0).UTC(), ClaimsHosts: true,
		Spec: v1alpha1.APIKeyPolicySpec{Hosts: []v1alpha1.Host{"api.stepsies.com"}, BasePath: "/v1"},
	}
}

func ledger() *Ledger {
	return &Ledger{
		Owner:   apikey.Ref{Namespace: "acme", Name: "ci", UID: "uid-1"},
		Entries: map[int64]LedgerEntry{1: {Digest: apikey.Digest{1}, Environment: "live"}},
	}
}

// sealed is one sealed Secret of each type, with its decoder.
func sealed(tb testing.TB, s *Sealer) map[string]struct {
	secret *corev1.Secret
	decode func(*Sealer, *corev1.Secret) (any, error)
	want   any
} {
	tb.Helper()
	type item = struct {
		secret *corev1.Secret
		decode func(*Sealer, *corev1.Secret) (any, error)
		want   any
	}
	must := func(secret *corev1.Secret, err error) *corev1.Secret {
		if err != nil {
			tb.Fatal(err)
		}
		return secret
	}
	return map[string]item{
		"record": {must(s.EncodeRecord(namespace, record(1))), func(s *Sealer, c *corev1.Secret) (any, error) { return s.DecodeRecord(c) }, record(1)},
		"policy": {must(s.EncodePolicy(namespace, source())), func(s *Sealer, c *corev1.Secret) (any, error) { return s.DecodePolicy(c) }, source()},
		"ledger": {must(s.EncodeLedger(namespace, ledger())), func(s *Sealer, c *corev1.Secret) (any, error) { return s.DecodeLedger(c) }, ledger()},
	}
}

func TestSealedReadsBack(t *testing.T) {
	s := newSealer(t, map[int]byte{1: 'a', 2: 'b'})
	for name, tc := range sealed(t, s) {
		t.Run(name, func(t *testing.T) {
			got, err := tc.decode(s, tc.secret)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if !s.Current(tc.secret) {
				t.Error("not sealed with the newest key")
			}
			if newSealer(t, map[int]byte{2: 'b', 3: 'c'}).Current(tc.secret) {
				t.Error("an older seal counts as the newest")
			}
			if _, err := tc.decode(newSealer(t, map[int]byte{2: 'b', 3: 'c'}), tc.secret); err != nil {
				t.Errorf("a live older key does not open it: %v", err)
			}
		})
	}
}

// TestSealRefuses spoils each sealed Secret in each way that a writer of the keys
// namespace could try.
func TestSealRefuses(t *testing.T) {
	s := newSealer(t, map[int]byte{1: 'a'})
	for name, spoil := range map[string]func(*corev1.Secret){
		"edited": func(c *corev1.Secret) {
			for field := range c.Data {
				if field != sealField {
					c.Data[field] = bytes.Replace(c.Data[field], []byte("uid-"), []byte("UID-"), 1)
				}
			}
		},
		"renamed":            func(c *corev1.Secret) { c.Name += "0" },
		"in other namespace": func(c *corev1.Secret) { c.Namespace = "acme" },
		"no seal":            func(c *corev1.Secret) { delete(c.Data, sealField) },
		"empty seal":         func(c *corev1.Secret) { c.Data[sealField] = []byte("1:") },
		"no version":         func(c *corev1.Secret) { c.Data[sealField] = c.Data[sealField][2:] },
		"odd version":        func(c *corev1.Secret) { c.Data[sealField] = append([]byte("x"), c.Data[sealField]...) },
		"not hex":            func(c *corev1.Secret) { c.Data[sealField] = []byte("1:zz") },
		"cut seal":           func(c *corev1.Secret) { c.Data[sealField] = c.Data[sealField][:20] },
		"no data":            func(c *corev1.Secret) { c.Data = nil },
	} {
		for kind, tc := range sealed(t, s) {
			t.Run(kind+" "+name, func(t *testing.T) {
				spoil(tc.secret)
				if _, err := tc.decode(s, tc.secret); !errors.Is(err, ErrSeal) {
					t.Errorf("got %v, want ErrSeal", err)
				}
			})
		}
	}
}

func TestSealOfAnotherKey(t *testing.T) {
	s := newSealer(t, map[int]byte{1: 'a'})
	for kind, tc := range sealed(t, s) {
		t.Run(kind, func(t *testing.T) {
			if _, err := tc.decode(newSealer(t, map[int]byte{1: 'x'}), tc.secret); !errors.Is(err, ErrSeal) {
				t.Errorf("other key, same version: got %v, want ErrSeal", err)
			}
			if _, err := tc.decode(newSealer(t, map[int]byte{2: 'a'}), tc.secret); !errors.Is(err, ErrSealVersion) {
				t.Errorf("same key, other version: got %v, want ErrSealVersion", err)
			}
		})
	}
}

// TestSealBindsTheType puts the content of one type under another: the type is
// immutable in Kubernetes, but a copy may have any.
func TestSealBindsTheType(t *testing.T) {
	s := newSealer(t, map[int]byte{1: 'a'})
	all := sealed(t, s)
	for kind, tc := range all {
		for other := range all {
			if kind == other {
				continue
			}
			copied := all[other].secret.DeepCopy()
			if _, err := tc.decode(s, copied); err == nil {
				t.Errorf("a %s was read as a %s", other, kind)
			}
			copied.Type = tc.secret.Type
			copied.Name = tc.secret.Name
			if _, err := tc.decode(s, copied); !errors.Is(err, ErrSeal) {
				t.Errorf("a %s in the clothes of a %s: got %v, want ErrSeal", other, kind, err)
			}
		}
	}
}

// TestNameBindsTheContent seals, with the right key, content of another name: a
// mistake of ours, not of an attacker, and refused all the same.
func TestNameBindsTheContent(t *testing.T) {
	s := newSealer(t, map[int]byte{1: 'a'})
	for kind, tc := range sealed(t, s) {
		tc.secret.Name = tc.secret.Name[:len(tc.secret.Name)-1] + "f"
		for field, content := range tc.secret.Data {
			if field != sealField {
				s.seal(tc.secret, field, content)
			}
		}
		if got, err := tc.decode(s, tc.secret); err == nil {
			t.Errorf("%s: read %+v under the name %s", kind, got, tc.secret.Name)
		}
	}
}

func TestNewSealerRefuses(t *testing.T) {
	key := bytes.Repeat([]byte{1}, SealKeySize)
	for name, byVersion := range map[string]map[int][]byte{
		"none":           {},
		"four":           {1: key, 2: key, 3: key, 4: key},
		"a short one":    {1: key[1:]},
		"a long one":     {1: append(bytes.Clone(key), 0)},
		"a version of 0": {0: key},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewSealer(byVersion); err == nil {
				t.Error("NewSealer took it")
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	s := newSealer(t, map[int]byte{1: 'a'})
	bad := record(1)
	bad.State = ""
	if _, err := s.EncodeRecord(namespace, bad); err == nil {
		t.Error("a record without a state was sealed")
	}
	if _, err := s.EncodeLedger(namespace, &Ledger{}); err == nil {
		t.Error("a ledger without an owner was sealed")
	}
	large := source()
	large.Spec.Errors.Docs = strings.Repeat("x", MaxPolicySize)
	if _, err := s.EncodePolicy(namespace, large); !errors.Is(err, ErrPolicyTooLarge) {
		t.Errorf("got %v, want ErrPolicyTooLarge", err)
	}
}

func TestDigestOf(t *testing.T) {
	d := apikey.Digest{1, 2}
	if got, err := DigestOf(RecordName(d)); err != nil || got != d {
		t.Errorf("DigestOf(RecordName(d)) = %v, %v", got, err)
	}
	for _, name := range []string{"", "key", "key-", "ledger-" + d.String(), "key-" + d.String() + "0"} {
		if _, err := DigestOf(name); err == nil {
			t.Errorf("%q was taken for a record's name", name)
		}
	}
}
