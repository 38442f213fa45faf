package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// APIKeyStatus is what is in force. The controller rebuilds it from its records
// whenever it differs; lastUsedAt and usage are extauthz's own, and only go forward.
//
// +kubebuilder:validation:XValidation:rule="!has(self.lastUsedAt) || !has(oldSelf.lastUsedAt) || self.lastUsedAt >= oldSelf.lastUsedAt",fieldPath=".lastUsedAt",message="lastUsedAt only goes forward"
// +kubebuilder:validation:XValidation:rule="!has(self.usage) || !has(oldSelf.usage) || self.usage.all(id, !(id in oldSelf.usage) || self.usage[id] >= oldSelf.usage[id])",fieldPath=".usage",message="usage only goes forward"
type APIKeyStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready (callers are let in), Delivered (the token was handed over),
	// ExpiringSoon and RotatingSoon.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// hint is the recognisable beginning of the token, such as "sk_ab12…".
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Hint string `json:"hint,omitempty"`

	// environment that the key belongs to.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Environment string `json:"environment,omitempty"`

	// scopes that are in force: those asked for that are also granted.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Scopes []ScopeName `json:"scopes,omitempty"`

	// plan that is in force.
	// +optional
	Plan PlanName `json:"plan,omitempty"`

	// expiresAt is when the key stops working.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// nextRotationAt is when the token is replaced by itself, with spec.rotation.every.
	// +optional
	NextRotationAt *metav1.Time `json:"nextRotationAt,omitempty"`

	// lastUsedAt is when a caller was last let in with any of the tokens, to the minute.
	// +optional
	LastUsedAt *metav1.Time `json:"lastUsedAt,omitempty"`

	// usage is when a caller was last let in with each token, to the minute, by the id
	// of the token (as in keys).
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Usage map[string]metav1.Time `json:"usage,omitempty"`

	// keys are the tokens issued for this APIKey, newest first.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=16
	Keys []IssuedKey `json:"keys,omitempty"`
}

// IssuedKey is one token that was issued for an APIKey.
type IssuedKey struct {
	// id is the key's public name in logs, headers and metrics: 16 hex digits.
	// +required
	// +kubebuilder:validation:MaxLength=16
	ID string `json:"id"`

	// hint is the recognisable beginning of the token.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Hint string `json:"hint,omitempty"`

	// serial counts the tokens of an APIKey from 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Serial int64 `json:"serial,omitempty"`

	// state is Pending, Active, Suspended, NotGranted, Rotated (the overlap with its
	// successor is over), Revoked, or Unreadable (the stored record carries no valid
	// seal; the Ready condition says more).
	// +optional
	// +kubebuilder:validation:MaxLength=32
	State string `json:"state,omitempty"`

	// issuedAt is when the token was minted.
	// +optional
	IssuedAt *metav1.Time `json:"issuedAt,omitempty"`

	// expiresAt is when the token stops working.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}
