package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Rotation says when the token is replaced by a new one, and how long the old one
// works on.
//
// +kubebuilder:validation:XValidation:rule="!has(self.every) || !self.every.matches('[1-9]') || duration(has(self.overlap) && self.overlap.matches('[0-9]') ? self.overlap : '24h') <= duration(self.every)",fieldPath=".overlap",message="overlap (24h where absent) must not be longer than every"
type Rotation struct {
	// serial is raised to rotate now: a new token is minted and delivered, and the old
	// one works on for overlap. It never goes down.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Serial int64 `json:"serial,omitempty"`

	// every is after how long the token is replaced without being asked, such as
	// "2160h" for 90 days, at least 10s. It needs delivery.retain: Keep.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]') && duration(self) >= duration('10s')",message="every must be a duration of at least 10s, such as 2160h"
	Every *metav1.Duration `json:"every,omitempty"`

	// overlap is how long the old token works on after the new one was delivered, such
	// as "24h". It can be changed during an overlap; "0s" ends the old token at once, for
	// good. Default: 24h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="self.matches('[0-9]')",message="overlap must be a duration, such as 24h or 0s"
	Overlap *metav1.Duration `json:"overlap,omitempty"`
}
