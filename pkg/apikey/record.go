package apikey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// State is what a record says of its key. Only Active lets callers in.
type State string

// The states of a record.
const (
	// Pending: minted, not yet delivered.
	Pending State = "Pending"
	// Active: delivered; callers are let in.
	Active State = "Active"
	// Suspended: turned away until it is Active again.
	Suspended State = "Suspended"
	// Revoked: turned away for good.
	Revoked State = "Revoked"
	// NotGranted: the policy no longer grants what the key needs.
	NotGranted State = "NotGranted"
	// Rotated: turned away for good, because the overlap with its successor is over.
	Rotated State = "Rotated"
	// Deleted: turned away because the owner is gone. Unlike one that was revoked, the
	// key may be registered again.
	Deleted State = "Deleted"
)

// valid reports whether s is one of the states above.
func (s State) valid() bool {
	switch s {
	case Pending, Active, Suspended, Revoked, NotGranted, Rotated, Deleted:
		return true
	}
	return false
}

// Ref names an object of the cluster and the very one of that name.
type Ref struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// Record is all that is known of one key. It holds nothing from which the token
// could be found.
type Record struct {
	// Digest of the token, and the name of the record.
	Digest Digest `json:"digest"`
	// Pepper is the version of the pepper that Digest is keyed with.
	Pepper int `json:"pepper"`
	// Owner is the APIKey that the key was issued for.
	Owner Ref `json:"owner"`
	// Serial counts the owner's tokens from 1.
	Serial int64 `json:"serial"`
	// Rotation is the owner's spec.rotation.serial that the key was minted for; 0: it
	// was not minted.
	Rotation int64 `json:"rotation,omitempty"`
	// Policy that the key is good for.
	Policy Ref `json:"policy"`
	// Environment of the policy that the key belongs to.
	Environment string `json:"environment"`
	// Scopes in force, as named in the policy, not yet closed over includes.
	Scopes []string `json:"scopes,omitempty"`
	// Plan in force; "": none.
	Plan string `json:"plan,omitempty"`
	// ExpiresAt is when the key stops working; nil: never. Of a key that has a
	// successor, it is the end of their overlap, if that comes first.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// AllowedCIDRs are the networks that the key may be used from; none: everywhere.
	AllowedCIDRs []netip.Prefix `json:"allowedCIDRs,omitempty"`
	// State of the key.
	State State `json:"state"`
	// Metadata as asserted by the owner.
	Metadata map[string]string `json:"metadata,omitempty"`

	// Hint is the recognisable beginning of the token.
	Hint string `json:"hint,omitempty"`
	// IssuedAt is when the token was minted, to the second.
	IssuedAt time.Time `json:"issuedAt"`
	// DeliveredAt is when the token was put into its delivery Secret; nil: not yet.
	DeliveredAt *time.Time `json:"deliveredAt,omitempty"`
	// DeliveryUID is the uid of that Secret.
	DeliveryUID string `json:"deliveryUID,omitempty"`
	// SupersededAt is when the token of the next serial was delivered, from which their
	// overlap counts; nil: there was none yet.
	SupersededAt *time.Time `json:"supersededAt,omitempty"`
	// HandedOver: the delivery Secret is gone, or holds the token of a later serial, and
	// is never looked for again.
	HandedOver bool `json:"handedOver,omitempty"`
	// RetiredAt is when the owner was found gone; nil: it is there. A retired record
	// is a tombstone and is removed a day later.
	RetiredAt *time.Time `json:"retiredAt,omitempty"`
	// Revision counts the writes of this record, so that an older form is known.
	Revision int64 `json:"revision"`
}

// MarshalRecord writes r as JSON. The error is that of an invalid record.
func MarshalRecord(r *Record) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// ParseRecord reads what [MarshalRecord] wrote. A field that this version does not
// know is an error: what it means can't be guessed, so the key must not be let in
// by it.
func ParseRecord(data []byte) (*Record, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	r := &Record{}
	if err := dec.Decode(r); err != nil {
		return nil, fmt.Errorf("decode record: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode record: something follows it")
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// Validate returns an error where a member that no record can lack is missing.
func (r *Record) Validate() error {
	switch {
	case r.Digest == Digest{}:
		return errors.New("record without a digest")
	case r.Pepper < 1:
		return errors.New("record without a pepper version")
	case r.Owner == Ref{} || r.Owner.UID == "":
		return errors.New("record without an owner")
	case r.Policy.Namespace == "" || r.Policy.Name == "":
		return errors.New("record without a policy")
	case r.Serial < 1:
		return errors.New("record without a serial")
	case !r.State.valid():
		return fmt.Errorf("record with unknown state %q", r.State)
	}
	return nil
}

// Expired reports whether the key no longer works at now: from the very moment of
// ExpiresAt on.
func (r *Record) Expired(now time.Time) bool {
	return r.ExpiresAt != nil && !now.Before(*r.ExpiresAt)
}
