package keystore

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

const testNamespace = "keygate-keys"

// digest is the n-th of many digests.
func digest(n int) apikey.Digest {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	return sha256.Sum256(b[:])
}

// record is an active record of a digest.
func record(d apikey.Digest) *apikey.Record {
	return &apikey.Record{
		Digest: d, Pepper: 1, Serial: 1,
		Owner:       apikey.Ref{Namespace: "acme", Name: "key-" + d.ID(), UID: "4e5f1f0e-7f0c-4b5a-9a43-" + d.ID()[:12]},
		Policy:      apikey.Ref{Namespace: "platform", Name: "stepsies", UID: "0b1a9a2e-3c55-4d44-8f7d-0242ac120002"},
		Environment: "live", Scopes: []string{"read", "write"}, State: apikey.Active,
		Hint: "sk_ab12…", IssuedAt: time.Unix(1, 0).UTC(), DeliveryUID: "7", Revision: 3,
	}
}

// rootSecret is the secrets of every test's installation.
var rootSecret = keysecret.NewRootSecret("keygate-system")

// newRoot reads rootSecret.
func newRoot(tb testing.TB) *keysecret.Root {
	tb.Helper()
	root, err := keysecret.ParseRoot(rootSecret)
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// extended is a sealed Secret with one more field at the beginning of its JSON, as
// a newer version of Keygate would write and seal it.
func extended(secret *corev1.Secret, member, field string) *corev1.Secret {
	secret = secret.DeepCopy()
	content := append([]byte("{"+field+","), secret.Data[member][1:]...)
	mac := hmac.New(sha256.New, rootSecret.Data["seal-1"])
	for _, part := range []string{"keygate.dev/seal/v1", string(secret.Type), secret.Namespace, secret.Name, member} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	mac.Write(content)
	secret.Data[member] = content
	secret.Data["seal"] = []byte("1:" + hex.EncodeToString(mac.Sum(nil)))
	return secret
}

// at gives a Secret a resourceVersion.
func at(secret *corev1.Secret, version uint64) *corev1.Secret {
	secret = secret.DeepCopy()
	secret.ResourceVersion = strconv.FormatUint(version, 10)
	return secret
}

// sealRecord is the Secret of a record.
func sealRecord(tb testing.TB, s *keysecret.Sealer, r *apikey.Record) *corev1.Secret {
	tb.Helper()
	secret, err := s.EncodeRecord(testNamespace, r)
	if err != nil {
		tb.Fatal(err)
	}
	return secret
}

// spoiled is a Secret whose content was edited by someone without the seal key.
func spoiled(secret *corev1.Secret) *corev1.Secret {
	secret = secret.DeepCopy()
	secret.Data["record"] = append(secret.Data["record"], ' ')
	return secret
}

// source is an accepted policy that claims a host.
func source(name, uid, host string) *policy.Source {
	return &policy.Source{
		Namespace: "platform", Name: name, UID: uid, Created: time.Unix(1, 0).UTC(), ClaimsHosts: true,
		Spec: v1alpha1.APIKeyPolicySpec{
			Hosts:        []v1alpha1.Host{v1alpha1.Host(host)},
			Environments: []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}},
			KeyFormat:    v1alpha1.KeyFormat{Encoding: v1alpha1.EncodingHex, Length: 48},
			Rules:        []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/{rest...}"}, AnyKey: true}},
		},
	}
}

// sealPolicy is the Secret of an accepted policy.
func sealPolicy(tb testing.TB, s *keysecret.Sealer, src *policy.Source) *corev1.Secret {
	tb.Helper()
	secret, err := s.EncodePolicy(testNamespace, src)
	if err != nil {
		tb.Fatal(err)
	}
	return secret
}

// apiServer stands in for live reads of a Store that no feed runs for: tests hand
// it events and lists themselves.
type apiServer struct {
	mu sync.Mutex
	// get answers a read; nil: there is nothing.
	get func(ctx context.Context, name string) (*corev1.Secret, error)
	// calls counts reads.
	calls int
}

func (a *apiServer) read(ctx context.Context, name string) (*corev1.Secret, error) {
	a.mu.Lock()
	a.calls++
	get := a.get
	a.mu.Unlock()
	if get == nil {
		return nil, notFound(name)
	}
	return get(ctx, name)
}

// answer makes every read have this result.
func (a *apiServer) answer(secret *corev1.Secret, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.get = func(context.Context, string) (*corev1.Secret, error) { return secret, err }
}

func (a *apiServer) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

func notFound(name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

var errDown = errors.New("connection refused")

// newUnfed makes a Store without a feed, whose live reads are the apiServer's.
func newUnfed(tb testing.TB, cacheSize int) (*Store, *apiServer) {
	tb.Helper()
	config := &rest.Config{Host: "http://127.0.0.1:1"}
	s, err := New(Options{
		Client: kubernetes.NewForConfigOrDie(config), Metadata: metadata.NewForConfigOrDie(config),
		SystemNamespace: "keygate-system", KeysNamespace: testNamespace,
		CacheSize: cacheSize, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	api := &apiServer{}
	s.fetcher.get, s.relister.get = api.read, api.read
	s.root.Store(newRoot(tb))
	return s, api
}

// syncAt makes a Store have its first list, as of a version.
func syncAt(tb testing.TB, s *Store, version uint64, secrets ...*corev1.Secret) {
	tb.Helper()
	keep := s.feed.begin()
	var objects []any
	for _, secret := range secrets {
		objects = append(objects, keep(secret))
	}
	if err := s.feed.Replace(objects, strconv.FormatUint(version, 10)); err != nil {
		tb.Fatal(err)
	}
}

// event hands an event to the Store, as the reflector does.
func event(tb testing.TB, deliver func(any) error, secret *corev1.Secret) {
	tb.Helper()
	if err := deliver(secret); err != nil {
		tb.Fatal(err)
	}
}

// seal is sealRecord under the Store's own root.
func seal(tb testing.TB, s *Store, d apikey.Digest, state apikey.State) *corev1.Secret {
	tb.Helper()
	r := record(d)
	r.State = state
	return sealRecord(tb, s.root.Load().Sealer, r)
}

// answerOf is what a look-up said, in a word: the state, "absent" or "error".
func answerOf(r *apikey.Record, err error) string {
	switch {
	case err != nil:
		return "error"
	case r == nil:
		return "absent"
	default:
		return string(r.State)
	}
}

// lookup is the answer for a digest.
func lookup(tb testing.TB, s *Store, d apikey.Digest) string {
	tb.Helper()
	r, err := s.Lookup(tb.Context(), d)
	if r != nil && r.Digest != d {
		tb.Fatalf("the record of another digest")
	}
	return answerOf(r, err)
}

// logBuffer collects a log that several goroutines write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
