package v1alpha1

// Scope is a permission that keys can have.
type Scope struct {
	// name of the scope: a scope-token of RFC 6749, section 3.3.
	// +required
	Name ScopeName `json:"name"`

	// description says what the scope lets a key do.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Description string `json:"description,omitempty"`

	// includes are scopes that come with this one, and those that come with them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Includes []ScopeName `json:"includes,omitempty"`
}
