package v1alpha1

// Host is a lower-case DNS name, exact or with a wildcard as first label.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
type Host string

// BasePath is "/" or literal segments without a slash at the end, as "/v1".
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^(/|(/([A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+)+)$`
// +kubebuilder:validation:XValidation:rule="!self.matches('/[.][.]?(/|$)')",message="a path has no '.' or '..' segments"
type BasePath string

// PathPattern is segments after slashes, each a literal, {name} for any one
// segment, or, as the last, {name...} for whatever is below.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^(/([A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+|/\{[A-Za-z][A-Za-z0-9_]*\})*(/\{[A-Za-z][A-Za-z0-9_]*\.\.\.\}|/)?$`
// +kubebuilder:validation:XValidation:rule="!self.matches('/[.][.]?(/|$)')",message="a path has no '.' or '..' segments"
type PathPattern string

// Method is an HTTP method, literal: GET is not HEAD.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[A-Z]+(-[A-Z]+)*$`
type Method string

// Rule says what some routes ask for: exactly one of scopes, anyScope, anyKey
// and anonymous.
//
// +kubebuilder:validation:XValidation:rule="(has(self.scopes) ? 1 : 0) + (has(self.anyScope) ? 1 : 0) + (has(self.anyKey) ? 1 : 0) + (has(self.anonymous) ? 1 : 0) == 1",message="a rule has exactly one of scopes, anyScope, anyKey and anonymous"
// +kubebuilder:validation:XValidation:rule="!(has(self.plan) && has(self.anonymous))",message="an anonymous rule asks for no plan"
type Rule struct {
	// methods that the rule is for. Absent: every method for which no rule of the
	// same path names it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Methods []Method `json:"methods,omitempty"`

	// basePath takes the place of the policy's for this rule.
	// +optional
	BasePath BasePath `json:"basePath,omitempty"`

	// paths that the rule is for, below the base path: "/users", "/users/{id}",
	// "/files/{rest...}". Literal segments are compared percent-decoded.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Paths []PathPattern `json:"paths"`

	// scopes that the key must have, all of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Scopes []ScopeName `json:"scopes,omitempty"`

	// anyScope are scopes of which the key must have one.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	AnyScope []ScopeName `json:"anyScope,omitempty"`

	// anyKey: true lets every valid key of the policy in.
	// +optional
	// +kubebuilder:validation:Enum=true
	AnyKey bool `json:"anyKey,omitempty"`

	// anonymous: true lets everybody in; a key that is sent is ignored, but taken
	// off the request.
	// +optional
	// +kubebuilder:validation:Enum=true
	Anonymous bool `json:"anonymous,omitempty"`

	// plan that the key must have, or one that includes it.
	// +optional
	Plan PlanName `json:"plan,omitempty"`

	// cost is how many requests one request counts for against the plan's limits; 0:
	// it is not counted.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Cost *int32 `json:"cost,omitempty"`

	// message is what a caller that lacks the scope or the plan is told, in place of
	// the general message.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// PreflightPolicy is what becomes of CORS preflight requests.
//
// +kubebuilder:validation:Enum=Deny;Allow
type PreflightPolicy string

// What becomes of CORS preflight requests.
const (
	PreflightDeny  PreflightPolicy = "Deny"
	PreflightAllow PreflightPolicy = "Allow"
)
