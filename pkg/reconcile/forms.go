package reconcile

import (
	"bytes"
	"encoding/base64"

	"keygate.dev/keygate/pkg/keysecret"
)

// The members of a delivery Secret's data.
const (
	// tokenField holds the token.
	tokenField = "token"
	// authorizationField holds the header line that carries the token.
	authorizationField = "authorization"
	// envField holds a line as .env files have it.
	envField = ".env"
)

// forms are what a delivery Secret's data says of the token, each in a copy of its own.
func forms(draft *issue) map[string][]byte {
	data := map[string][]byte{tokenField: bytes.Clone(draft.token)}
	if p := draft.world.policy; p != nil && p.HeaderLine() != "" {
		data[authorizationField] = bytes.Join([][]byte{[]byte(p.HeaderLine()), draft.token}, nil)
	}
	if name := draft.world.key.Spec.Delivery.EnvVar; name != "" {
		data[envField] = bytes.Join([][]byte{[]byte(name + "="), draft.token, []byte("\n")}, nil)
	}
	return data
}

// wipe clears what a delivery Secret's data says.
func wipe(data map[string][]byte) {
	for _, form := range data {
		clear(form)
	}
}

// deliveryPatch is the merge patch that makes a delivery Secret, as it was claimed, say
// nothing but this of any token: what it says of an earlier one goes.
func deliveryPatch(claim delivered, id string, data map[string][]byte) map[string]any {
	members := map[string]any{authorizationField: nil, envField: nil}
	for name, form := range data {
		members[name] = form
	}
	return map[string]any{
		"metadata": map[string]any{
			"uid":             claim.uid,
			"resourceVersion": claim.resourceVersion,
			"annotations":     map[string]string{keyIDAnnotation: id},
		},
		"type": keysecret.TypeToken,
		"data": members,
	}
}

// holdsToken reports whether a text holds a token: as it is, or in base64, whatever stands
// before it there.
func holdsToken(text, token []byte) bool {
	if bytes.Contains(text, token) {
		return true
	}
	for before := range 3 {
		encoded := encodedAfter(before, token)
		found := bytes.Contains(text, encoded)
		clear(encoded)
		if found {
			return true
		}
	}
	return false
}

// encodedAfter is what base64 makes of a token that so many bytes, and whatever else,
// stand before: those characters that tell of nothing but the token.
func encodedAfter(before int, token []byte) []byte {
	padded := make([]byte, before+len(token))
	defer clear(padded)
	copy(padded[before:], token)
	encoded := make([]byte, base64.RawStdEncoding.EncodedLen(len(padded)))
	base64.RawStdEncoding.Encode(encoded, padded)
	const bits = 6 // of a character
	return encoded[(before*8+bits-1)/bits : len(padded)*8/bits]
}
