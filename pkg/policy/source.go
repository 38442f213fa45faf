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
	if s.Namespace == "" || s.Name == "" || s.UID == "" {
		return nil, errors.New("policy without namespace, name or uid")
	}
	return s, nil
}
