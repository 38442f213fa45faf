package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PlanName names one of a policy's plans.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type PlanName string

// LimitFailure is what becomes of requests whose limit cannot be judged.
//
// +kubebuilder:validation:Enum=FailClosed;FailOpen
type LimitFailure string

// What becomes of requests whose limit cannot be judged.
const (
	LimitFailClosed LimitFailure = "FailClosed"
	LimitFailOpen   LimitFailure = "FailOpen"
)

// Plan is a level of service.
type Plan struct {
	// name of the plan, such as business.
	// +required
	Name PlanName `json:"name"`

	// description says what the plan is.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Description string `json:"description,omitempty"`

	// includes are lesser plans: rules that ask for one of them are satisfied by this
	// one, too. Limits are not inherited.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Includes []PlanName `json:"includes,omitempty"`

	// limits say how many requests each APIKey may make, its tokens together; each of
	// them holds. Absent: as many as it likes.
	// +optional
	// +listType=map
	// +listMapKey=per
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, duration(b.per) == duration(a.per)))",message="two limits are per the same time: keep the lower of the two"
	Limits []Limit `json:"limits,omitempty"`
}

// Limit is a number of requests within a window, which opens at a key's first
// request.
type Limit struct {
	// requests that are allowed within the window.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Requests int64 `json:"requests"`

	// per is how long the window lasts, such as "1s", "1h" or "24h": at least a second,
	// and 366 days at the most.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]') && duration(self) <= duration('8784h')",message="per must be a duration from 1s to 8784h, such as 1h"
	Per metav1.Duration `json:"per"`
}
