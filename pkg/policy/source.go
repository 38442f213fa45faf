package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"keygate.dev/keygate/api/v1alpha1"
)

// Source is what a policy is compiled from: the accepted form that the controller
// seals and every extauthz reads.
type Source struct {
	// Namespace, Name and UID of the APIKeyPolicy.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// Generation of the APIKeyPolicy that Spec is from.
	Generation int64 `json:"generation"`
	// Created is the APIKeyPolicy's creation time: of equal claims to a host the
	// older wins.
	Created time.Time `json:"created"`
	// ClaimsHosts: the operator lets policies of this namespace decide hosts. Where
	// false, the policy is reached by name only.
	ClaimsHosts bool `json:"claimsHosts"`
	// Spec as it was accepted.
	Spec v1alpha1.APIKeyPolicySpec `json:"spec"`
}

// MarshalSource writes s as JSON.
func MarshalSource(s *Source) ([]byte, error) { return json.Marshal(s) }

// ParseSource reads what [MarshalSource] wrote. A field that this version does not
// know is an error: it may forbid what the rest allows.
func ParseSource(data []byte) (*Source, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	s := &Source{}
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("decode policy: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode policy: something follows it")
	}
	if err := s.checkNames(); err != nil {
		return nil, err
	}
	return s, nil
}

// ParseSourceHeader reads of what [MarshalSource] wrote only who it is, and which
// hosts it claims: Namespace, Name, UID, Generation, Created, ClaimsHosts and
// Spec.Hosts. It is for a policy that [ParseSource] or [Compile] refuses, because it
// was accepted by a newer version. Its hosts are then still known to be decided by a
// policy, though by none that can be used.
func ParseSourceHeader(data []byte) (*Source, error) {
	var h struct {
		Namespace, Name, UID string
		Generation           int64
		Created              time.Time
		ClaimsHosts          bool
		Spec                 struct{ Hosts []v1alpha1.Host }
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("decode policy header: %w", err)
	}
	s := &Source{
		Namespace: h.Namespace, Name: h.Name, UID: h.UID,
		Generation: h.Generation, Created: h.Created, ClaimsHosts: h.ClaimsHosts,
	}
	s.Spec.Hosts = h.Spec.Hosts
	if err := s.checkNames(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkNames returns an error where s does not say whose policy it is.
func (s *Source) checkNames() error {
	if s.Namespace == "" || s.Name == "" || s.UID == "" {
		return errors.New("policy without namespace, name or uid")
	}
	return nil
}
