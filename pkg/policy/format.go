package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// maxEnvironments is how many environments there can be, as in the schema of the API.
const maxEnvironments = 16

// defaultLength is the length of a secret where the policy gives none, in characters.
const defaultLength = 40

// maxLength is the longest secret, in characters, as in the schema of the API: with any
// prefix it makes a token that is not too long to be looked at.
const maxLength = 256

// maxIDLength is the longest public id of a token, in characters, as in the schema of
// the API.
const maxIDLength = 32

// alphabets maps encoding → alphabet; "": the default.
var alphabets = map[v1alpha1.Encoding]apikey.Alphabet{
	v1alpha1.EncodingHex:    apikey.Hex,
	v1alpha1.EncodingBase62: apikey.Base62,
	"":                      apikey.Base62,
}

// Format is the shape of the tokens that are minted for an environment; false where
// the policy declares no such environment.
func (p *Policy) Format(environment string) (apikey.Format, bool) {
	f, ok := p.environments[environment]
	return f, ok
}

// DefaultEnvironment is the environment of keys that ask for none: the first that the
// policy declares.
func (p *Policy) DefaultEnvironment() string { return p.defaultEnvironment }

// compileFormats reads the environments: it maps name → format of its tokens.
func compileFormats(spec *v1alpha1.APIKeyPolicySpec, found *problems) map[string]apikey.Format {
	at := field.NewPath("spec", "environments")
	if len(spec.Environments) == 0 {
		found.add(at, "there is no environment: declare one, as {name: live, prefix: sk_}")
	}
	if !checkSize(found, at, spec.Environments, maxEnvironments) {
		return nil
	}
	format := compileKeyFormat(spec.KeyFormat, found)
	out := make(map[string]apikey.Format, len(spec.Environments))
	for i, e := range spec.Environments {
		name := string(e.Name)
		environmentShape.check(found, at.Index(i).Child("name"), name)
		prefixShape.check(found, at.Index(i).Child("prefix"), e.Prefix)
		if _, twice := out[name]; twice {
			found.add(at.Index(i).Child("name"), "the environment %q is declared twice: declare it once", name)
		}
		for j, other := range spec.Environments[:i] {
			if strings.HasPrefix(e.Prefix, other.Prefix) || strings.HasPrefix(other.Prefix, e.Prefix) {
				found.add(at.Index(i).Child("prefix"), "of %q and %s %q one is the beginning of the other: choose prefixes that differ",
					e.Prefix, at.Index(j).Child("prefix"), other.Prefix)
			}
		}
		format.Prefix = e.Prefix
		out[name] = format
	}
	return out
}

// compileKeyFormat reads the shape of tokens, without their prefix.
func compileKeyFormat(k v1alpha1.KeyFormat, found *problems) apikey.Format {
	at := field.NewPath("spec", "keyFormat")
	alphabet, ok := alphabets[k.Encoding]
	if !ok {
		found.add(at.Child("encoding"), "%q is not possible: write Hex or Base62", k.Encoding)
		return apikey.Format{}
	}
	f := apikey.Format{Alphabet: alphabet, Length: int(k.Length), IDLength: int(k.IDLength)}
	if f.Length == 0 {
		f.Length = defaultLength
	}
	if f.IDLength < 0 || f.IDLength > maxIDLength {
		found.add(at.Child("idLength"), "%d is not possible: choose 0 to %d", f.IDLength, maxIDLength)
		return f
	}
	if err := f.Validate(); err != nil {
		found.add(at.Child("length"), "%v: choose another length", err)
	}
	if f.Length > maxLength {
		found.add(at.Child("length"), "%d characters are too long: choose %d at the most", f.Length, maxLength)
	}
	return f
}
