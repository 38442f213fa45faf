package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// APIKey asks for one API key. The controller mints a token, hands it over once
// in a Secret beside the APIKey, and keeps only a keyed hash of it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ak,categories=keygate
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.policyRef.name`
// +kubebuilder:printcolumn:name="Hint",type=string,JSONPath=`.status.hint`
// +kubebuilder:printcolumn:name="Scopes",type=string,JSONPath=`.status.scopes`
// +kubebuilder:printcolumn:name="Plan",type=string,JSONPath=`.status.plan`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Last Used",type=date,JSONPath=`.status.lastUsedAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Name",type=string,priority=1,JSONPath=`.spec.displayName`
// +kubebuilder:printcolumn:name="Environment",type=string,priority=1,JSONPath=`.status.environment`
type APIKey struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the holder asks for.
	// +required
	Spec APIKeySpec `json:"spec"`
	// status is what is in force. It decides nothing and can always be rebuilt.
	// +optional
	Status APIKeyStatus `json:"status,omitempty"`
}

// APIKeyList is a list of APIKeys.
//
// +kubebuilder:object:root=true
type APIKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []APIKey `json:"items"`
}

// APIKeySpec is what the holder of a key asks for.
//
// +kubebuilder:validation:XValidation:rule="self.policyRef == oldSelf.policyRef",fieldPath=".policyRef",message="policyRef is immutable: apply a new APIKey for another policy"
// +kubebuilder:validation:XValidation:rule="has(self.environment) == has(oldSelf.environment) && (!has(self.environment) || self.environment == oldSelf.environment)",message="environment is immutable: apply a new APIKey for another environment"
// +kubebuilder:validation:XValidation:rule="has(self.delivery.secretName) == has(oldSelf.delivery.secretName) && (!has(self.delivery.secretName) || self.delivery.secretName == oldSelf.delivery.secretName)",message="delivery.secretName is immutable: apply a new APIKey to deliver elsewhere"
// +kubebuilder:validation:XValidation:rule="oldSelf.state != 'Revoked' || self.state == 'Revoked'",fieldPath=".state",message="a revoked key cannot be reinstated: apply a new APIKey"
// +kubebuilder:validation:XValidation:rule="(has(self.rotation) ? self.rotation.serial : 1) >= (has(oldSelf.rotation) ? oldSelf.rotation.serial : 1)",fieldPath=".rotation",message="rotation.serial only goes up: raise it to rotate; to end an old token now, set rotation.overlap to 0s"
// +kubebuilder:validation:XValidation:rule="!has(self.rotation) || !has(self.rotation.every) || self.delivery.retain == 'Keep'",fieldPath=".rotation",message="rotation.every needs delivery.retain: Keep: with Once, nobody would learn of the new token and callers would be cut off"
// +kubebuilder:validation:XValidation:rule="has(self.sha256) == has(oldSelf.sha256) && (!has(self.sha256) || self.sha256 == oldSelf.sha256)",message="sha256 is immutable: apply a new APIKey for another key"
// +kubebuilder:validation:XValidation:rule="!has(self.sha256) || !has(self.rotation)",fieldPath=".rotation",message="a key that was made elsewhere is rotated there: register the new one as a second APIKey, then revoke this one"
// +kubebuilder:validation:XValidation:rule="!has(self.sha256) || !(has(self.delivery.secretName) || has(self.delivery.ttl) || has(self.delivery.envVar) || self.delivery.retain == 'Keep')",fieldPath=".delivery",message="a key that was made elsewhere is not delivered: take delivery out, or sha256"
type APIKeySpec struct {
	// policyRef names the APIKeyPolicy that the key is for. Immutable.
	// +required
	PolicyRef PolicyReference `json:"policyRef"`

	// displayName is what people call the key, such as "CI/CD Pipeline".
	// +optional
	// +kubebuilder:validation:MaxLength=128
	DisplayName string `json:"displayName,omitempty"`

	// description says what the key is used for.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// environment is one of the policy's. Default: the policy's first, fixed when
	// the key is minted. Immutable.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Environment string `json:"environment,omitempty"`

	// scopes are what the key may do, by the policy's names. A key without scopes
	// reaches only the rules that take any key.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Scopes []ScopeName `json:"scopes,omitempty"`

	// plan is one of the policy's. Default: the policy's defaultPlan. Refused where the
	// environment has a plan of its own.
	// +optional
	Plan PlanName `json:"plan,omitempty"`

	// expiresAt is when the key stops working, an RFC 3339 time such as
	// "2027-01-01T00:00:00Z", judged on each request. Absent: never.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// state is Active, Suspended (callers are turned away until it is Active again)
	// or Revoked (for good: no later edit brings the key back).
	// +optional
	// +kubebuilder:default=Active
	State KeyState `json:"state,omitempty"`

	// rotation replaces the token by a new one, while the old one works on for a while.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`

	// delivery says how the token is handed over.
	// +optional
	// +kubebuilder:default={retain: Once}
	Delivery Delivery `json:"delivery,omitempty"`

	// sha256 registers a key that was made elsewhere, by the SHA-256 of its text, 64
	// lower-case hex digits: nothing is minted or delivered, and the key itself never
	// enters the cluster. It excludes rotation and delivery. Immutable. Keygate cannot
	// see how random such a key is: use 128 bits or more.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256,omitempty"`

	// allowedCIDRs are the networks that the key may be used from, such as
	// "203.0.113.0/24" or "2001:db8::/32": from elsewhere, callers are turned away.
	// Which address a caller has is what extauthz is told to go by. Absent: everywhere.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	AllowedCIDRs []CIDR `json:"allowedCIDRs,omitempty"`

	// metadata is passed on, as asserted by the key's holder, to Envoy's dynamic
	// metadata: at most 32 entries.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) > 0 && size(k) <= 63)",message="metadata keys have 1 to 63 characters"
	Metadata map[string]MetadataValue `json:"metadata,omitempty"`
}

// PolicyReference names an APIKeyPolicy.
type PolicyReference struct {
	// name of the APIKeyPolicy.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`

	// namespace of the APIKeyPolicy. Default: the APIKey's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
}

// KeyState is whether callers are let in with a key.
//
// +kubebuilder:validation:Enum=Active;Suspended;Revoked
type KeyState string

// The states that an APIKey can ask for.
const (
	StateActive    KeyState = "Active"
	StateSuspended KeyState = "Suspended"
	StateRevoked   KeyState = "Revoked"
)

// ScopeName is a scope-token of RFC 6749, section 3.3: visible ASCII without
// the double quote and the backslash.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]+$`
type ScopeName string

// CIDR is a network in CIDR notation (RFC 4632, RFC 4291) without host bits.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="must be a network in CIDR notation without host bits, such as 203.0.113.0/24"
type CIDR string

// MetadataValue is one value of an APIKey's metadata.
//
// +kubebuilder:validation:MaxLength=256
type MetadataValue string
