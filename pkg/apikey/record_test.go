package apikey

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// record is a record with every member set.
func record() *Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &Record{
		Digest: Digest{1, 2, 3}, Pepper: 1,
		Owner: Ref{"acme", "ci", "uid-1"}, Serial: 1,
		Policy: Ref{"platform", "stepsies", "uid-2"}, Environment: "live",
		Scopes: []string{"read"}, ExpiresAt: &at, State: Active,
		Metadata: map[string]string{"team": "a"},
		Hint:     "sk_ab12…", IssuedAt: at, DeliveredAt: &at, DeliveryUID: "uid-3", HandedOver: true,
		SupersededAt: &at, RetiredAt: &at, Revision: 7,
		Rotation: 2, AllowedCIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
	}
}

func TestRecordReadsBack(t *testing.T) {
	data, err := MarshalRecord(record())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(record(), got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestRecordRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Record){
		"no digest":           func(r *Record) { r.Digest = Digest{} },
		"no pepper":           func(r *Record) { r.Pepper = 0 },
		"no owner":            func(r *Record) { r.Owner = Ref{} },
		"no owner uid":        func(r *Record) { r.Owner.UID = "" },
		"no policy namespace": func(r *Record) { r.Policy.Namespace = "" },
		"no policy name":      func(r *Record) { r.Policy.Name = "" },
		"no serial":           func(r *Record) { r.Serial = 0 },
		"no state":            func(r *Record) { r.State = "" },
		"unknown state":       func(r *Record) { r.State = "active" },
	} {
		t.Run(name, func(t *testing.T) {
			r := record()
			spoil(r)
			if _, err := MarshalRecord(r); err == nil {
				t.Error("MarshalRecord took it")
			}
		})
	}
	for name, state := range map[string]State{"pending": Pending, "active": Active, "suspended": Suspended, "revoked": Revoked, "not granted": NotGranted, "rotated": Rotated, "deleted": Deleted} {
		r := record()
		r.State = state
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRecordRefuses(t *testing.T) {
	good, err := MarshalRecord(record())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty":            "",
		"null":             "null",
		"no record":        "{}",
		"a list":           "[]",
		"unknown field":    strings.Replace(string(good), `{`, `{"allowedHosts":["10.0.0.0/8"],`, 1),
		"something behind": string(good) + "{}",
		"cut":              string(good[:len(good)-1]),
		"a bad digest":     strings.Replace(string(good), `"digest":"0`, `"digest":"x`, 1),
		"a bad network":    strings.Replace(string(good), `203.0.113.0/24`, `203.0.113.0`, 1),
		"a bad time":       strings.Replace(string(good), `2026-01-02T`, `2026-01-02t`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := ParseRecord([]byte(data)); err == nil || r != nil {
				t.Errorf("ParseRecord took it: %+v", r)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	epoch, zero := time.Unix(0, 0), time.Time{}
	for name, tc := range map[string]struct {
		expires *time.Time
		now     time.Time
		want    bool
	}{
		"never":            {nil, at, false},
		"a second before":  {&at, at.Add(-time.Second), false},
		"just before":      {&at, at.Add(-1), false},
		"at the moment":    {&at, at, true},
		"a second after":   {&at, at.Add(time.Second), true},
		"the Unix epoch":   {&epoch, at, true},
		"the zero time":    {&zero, at, true},
		"other time zones": {&at, at.In(time.FixedZone("", 3600)), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&Record{ExpiresAt: tc.expires}).Expired(tc.now); got != tc.want {
				t.Errorf("Expired() = %v, want %v", got, tc.want)
			}
		})
	}
}

func FuzzParseRecord(f *testing.F) {
	good, err := MarshalRecord(record())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"digest":"","state":"Active"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err != nil {
			return
		}
		again, err := MarshalRecord(r)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		back, err := ParseRecord(again)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		if diff := cmp.Diff(r.Validate(), back.Validate()); diff != "" {
			t.Error(diff)
		}
	})
}
