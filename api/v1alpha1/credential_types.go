package v1alpha1

// Credential is one place where callers may put the key: a header or a query
// parameter.
//
// +kubebuilder:validation:XValidation:rule="has(self.header) != has(self.query)",message="a credential is either a header or a query parameter"
type Credential struct {
	// header carries the key.
	// +optional
	Header *CredentialHeader `json:"header,omitempty"`

	// query parameter that carries the key. Keys in URLs end up in logs and histories:
	// prefer a header.
	// +optional
	Query *CredentialQuery `json:"query,omitempty"`
}

// CredentialQuery is a query parameter that carries a key.
type CredentialQuery struct {
	// name of the parameter, as it is written: case matters, and no encoding of it is
	// taken for it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
	Name string `json:"name"`
}

// CredentialHeader is a request header that carries a key.
type CredentialHeader struct {
	// name of the header, in any case.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'connection', 'content-length', 'content-type', 'transfer-encoding', 'te', 'upgrade', 'trailer', 'keep-alive', 'proxy-connection', 'x-request-id']) && !self.lowerAscii().startsWith('x-envoy-') && !self.lowerAscii().startsWith('x-forwarded-')",message="this header belongs to the protocol or to Envoy and cannot carry a key"
	Name string `json:"name"`

	// scheme is what stands before the key, such as Bearer, compared without case
	// (RFC 9110, section 11.1). Absent: the header's value is the key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9-]*$`
	Scheme string `json:"scheme,omitempty"`
}
