package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Delivery says how a token is handed over.
//
// +kubebuilder:validation:XValidation:rule="self.retain != 'Keep' || !has(self.ttl)",fieldPath=".ttl",message="ttl is for retain: Once; a kept Secret stays until the APIKey is deleted"
type Delivery struct {
	// secretName is the Secret, in the APIKey's namespace, that the token is put in
	// (type keygate.dev/token): data.token is the token, data.authorization the header
	// line that carries it, such as "Authorization: Bearer sk_…", where the policy takes
	// keys in a header. Default: the APIKey's name. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	SecretName string `json:"secretName,omitempty"`

	// retain is Once (the Secret is deleted ttl after its creation, or before that
	// by whoever collects it) or Keep (the Secret stays, for workloads that mount it).
	// +optional
	// +kubebuilder:default=Once
	Retain RetainPolicy `json:"retain,omitempty"`

	// envVar, such as STEPSIES_API_KEY, adds data[".env"] to the Secret, a line
	// "STEPSIES_API_KEY=sk_…" as .env files have it. A change counts from the next token
	// on.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	EnvVar string `json:"envVar,omitempty"`

	// ttl is how long an uncollected Secret is kept with retain: Once, such as
	// "24h" or "1h30m", at least a second. Default: 24h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="ttl must be a duration of at least a second, such as 24h"
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// RetainPolicy is what becomes of a delivery Secret.
//
// +kubebuilder:validation:Enum=Once;Keep
type RetainPolicy string

// What becomes of a delivery Secret.
const (
	RetainOnce RetainPolicy = "Once"
	RetainKeep RetainPolicy = "Keep"
)
