package v1alpha1

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// Upstream says what the API behind Envoy is told about the caller.
type Upstream struct {
	// headers: false keeps the identity headers from being set. What a caller sent
	// under their names is removed all the same.
	// +optional
	// +kubebuilder:default=true
	Headers *bool `json:"headers,omitempty"`

	// prefix of the identity headers: x-…-, never x-envoy- or x-forwarded-.
	// +optional
	// +kubebuilder:default="x-apikey-"
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^x-[a-z0-9-]+-$`
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('x-envoy-') && !self.startsWith('x-forwarded-') && self != 'x-request-'",message="the prefix is not x-envoy-, x-forwarded- or x-request-: those headers belong to Envoy and to the request"
	Prefix string `json:"prefix,omitempty"`
}

// Errors says what denied callers are told.
type Errors struct {
	// contentType of the bodies.
	// +optional
	// +kubebuilder:default="application/problem+json"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-z]+/[a-z0-9.+-]+(; ?[a-z-]+=[A-Za-z0-9._-]+)?$`
	ContentType string `json:"contentType,omitempty"`

	// docs is a URL for people: the placeholder {docs}.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[!#-;=?-\[\]_a-z~]+$`
	Docs string `json:"docs,omitempty"`

	// bodies are JSON, chosen by reason ("insufficient_scope"), else by status
	// ("403"), else "default". String values may hold placeholders: {requestId}
	// {reason} {message} {docs} {requiredScopes} {requiredPlan} {retryAfter} {limit} {keyId}. A value whose
	// placeholder has nothing to put in is left out with its member. Where none is
	// given: a problem document (RFC 9457).
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Bodies map[string]apiextensionsv1.JSON `json:"bodies,omitempty"`

	// headers are added to every denial.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Headers []ErrorHeader `json:"headers,omitempty"`
}

// ErrorHeader is a response header of denials.
type ErrorHeader struct {
	// name of the header, in lower case.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['content-type', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'trailer', 'te', 'host', 'www-authenticate', 'retry-after', 'x-request-id', 'ratelimit', 'ratelimit-policy', 'grpc-status', 'grpc-message', 'grpc-status-details-bin']) && !self.startsWith('x-envoy-')",message="this header is set by Keygate or belongs to the protocol"
	Name string `json:"name"`

	// value of the header: visible ASCII and spaces.
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[!-~]([ -~]*[!-~])?$`
	Value string `json:"value"`
}
