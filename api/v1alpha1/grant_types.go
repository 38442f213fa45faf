package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Grant lets the APIKeys of some namespaces have some of the policy's scopes in
// some of its environments.
type Grant struct {
	// namespaces whose APIKeys this grant is for.
	// +optional
	// +kubebuilder:default={from: Same}
	Namespaces GrantNamespaces `json:"namespaces,omitempty"`

	// scopes that are granted, with all that they include. Absent: every scope.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Scopes []ScopeName `json:"scopes,omitempty"`

	// environments that are granted. Absent: every environment.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Environments []EnvironmentName `json:"environments,omitempty"`

	// plans that are granted: the grant is for keys of these plans alone. Absent: every
	// plan, and keys without one.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Plans []PlanName `json:"plans,omitempty"`

	// maxTTL is the longest life of a token, such as "2160h": the grant is for keys alone
	// whose expiresAt is at most that long after their token was issued. It implies
	// requireExpiry. Absent: any.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="maxTTL must be a duration of at least a second, such as 2160h"
	MaxTTL *metav1.Duration `json:"maxTTL,omitempty"`

	// requireExpiry: the grant is for keys alone that have an expiresAt.
	// +optional
	RequireExpiry bool `json:"requireExpiry,omitempty"`
}

// GrantNamespaces selects namespaces.
//
// +kubebuilder:validation:XValidation:rule="(self.from == 'Selector') == has(self.selector)",message="selector goes with from: Selector, and only with it"
type GrantNamespaces struct {
	// from is Same (the policy's own namespace), All, or Selector (those whose
	// labels match selector).
	// +optional
	// +kubebuilder:default=Same
	From NamespacesFrom `json:"from,omitempty"`

	// selector matches labels of namespaces, with from: Selector.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// NamespacesFrom is how a grant selects namespaces.
//
// +kubebuilder:validation:Enum=Same;All;Selector
type NamespacesFrom string

// How a grant selects namespaces.
const (
	NamespacesSame     NamespacesFrom = "Same"
	NamespacesAll      NamespacesFrom = "All"
	NamespacesSelector NamespacesFrom = "Selector"
)
