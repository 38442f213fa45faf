package v1alpha1

// KeyFormat is the shape of minted tokens: the environment's prefix, a public id
// and an underscore if there is an idLength, then a secret of random characters.
//
// +kubebuilder:validation:XValidation:rule="self.encoding == 'Hex' ? self.length >= 32 : self.length >= 22",fieldPath=".length",message="the secret must have at least 128 random bits: 32 characters with Hex, 22 with Base62"
type KeyFormat struct {
	// encoding is Hex (0-9a-f, 4 bits a character) or Base62 (0-9A-Za-z, 5.95 bits
	// a character).
	// +optional
	// +kubebuilder:default=Base62
	Encoding Encoding `json:"encoding,omitempty"`

	// length is the number of random characters: at least 128 bits' worth.
	// +optional
	// +kubebuilder:default=40
	// +kubebuilder:validation:Minimum=22
	// +kubebuilder:validation:Maximum=256
	Length int32 `json:"length,omitempty"`

	// idLength is the number of random characters of a public part between prefix and
	// secret: 6 gives sk_live_abc123_…; it counts for nothing in the secret's strength.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	IDLength int32 `json:"idLength,omitempty"`
}

// Encoding is the alphabet of a secret.
//
// +kubebuilder:validation:Enum=Hex;Base62
type Encoding string

// The alphabets of a secret.
const (
	EncodingHex    Encoding = "Hex"
	EncodingBase62 Encoding = "Base62"
)

// EnvironmentName names one of a policy's environments.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type EnvironmentName string

// Environment is one kind of keys of a policy.
type Environment struct {
	// name of the environment, such as live.
	// +required
	Name EnvironmentName `json:"name"`

	// prefix that every token of the environment begins with, such as sk_live_.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
	Prefix string `json:"prefix"`

	// plan that every key of the environment has, whatever it asks for.
	// +optional
	Plan PlanName `json:"plan,omitempty"`
}
