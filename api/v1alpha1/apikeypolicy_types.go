package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// APIKeyPolicy describes an API that is reached with API keys: where it lives,
// which scopes and routes it has, what denied callers are told, and who may
// issue keys to it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=apikeypolicies,shortName=akp,categories=keygate
// +kubebuilder:printcolumn:name="Hosts",type=string,JSONPath=`.spec.hosts`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`
// +kubebuilder:printcolumn:name="Claimed",type=string,JSONPath=`.status.conditions[?(@.type=="HostsClaimed")].status`
// +kubebuilder:printcolumn:name="Keys",type=integer,JSONPath=`.status.keys`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type APIKeyPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes the API.
	// +required
	Spec APIKeyPolicySpec `json:"spec"`
	// status says whether the spec is in force.
	// +optional
	Status APIKeyPolicyStatus `json:"status,omitempty"`
}

// APIKeyPolicyList is a list of APIKeyPolicies.
//
// +kubebuilder:object:root=true
type APIKeyPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []APIKeyPolicy `json:"items"`
}

// APIKeyPolicySpec describes an API that is reached with API keys.
//
// +kubebuilder:validation:XValidation:rule="self.keyFormat == oldSelf.keyFormat",fieldPath=".keyFormat",message="keyFormat is immutable: apply a new APIKeyPolicy for another format"
// +kubebuilder:validation:XValidation:rule="oldSelf.environments.all(o, self.environments.exists(n, n.name == o.name && n.prefix == o.prefix && has(n.plan) == has(o.plan) && (!has(n.plan) || n.plan == o.plan)))",fieldPath=".environments",message="environments can be added, but never changed or removed"
// +kubebuilder:validation:XValidation:rule="self.environments.all(a, self.environments.all(b, a.name == b.name || !a.prefix.startsWith(b.prefix)))",fieldPath=".environments",message="no environment's prefix may be the beginning of another's"
// +kubebuilder:validation:XValidation:rule="self.rules.all(r, (!has(r.scopes) || r.scopes.all(s, has(self.scopes) && self.scopes.exists(d, d.name == s))) && (!has(r.anyScope) || r.anyScope.all(s, has(self.scopes) && self.scopes.exists(d, d.name == s))))",fieldPath=".rules",message="a rule names a scope that spec.scopes does not declare"
// +kubebuilder:validation:XValidation:rule="!has(self.scopes) || self.scopes.all(c, !has(c.includes) || c.includes.all(i, self.scopes.exists(d, d.name == i)))",fieldPath=".scopes",message="includes names a scope that spec.scopes does not declare"
// +kubebuilder:validation:XValidation:rule="!has(self.grants) || self.grants.all(g, !has(g.scopes) || g.scopes.all(s, has(self.scopes) && self.scopes.exists(d, d.name == s)))",fieldPath=".grants",message="a grant names a scope that spec.scopes does not declare"
// +kubebuilder:validation:XValidation:rule="!has(self.grants) || self.grants.all(g, !has(g.environments) || g.environments.all(e, self.environments.exists(d, d.name == e)))",fieldPath=".grants",message="a grant names an environment that spec.environments does not declare"
// +kubebuilder:validation:XValidation:rule="!has(self.grants) || self.grants.all(g, !has(g.plans) || g.plans.all(n, has(self.plans) && self.plans.exists(d, d.name == n)))",fieldPath=".grants",message="a grant names a plan that spec.plans does not declare"
// +kubebuilder:validation:XValidation:rule="self.environments.all(e, !has(e.plan) || (has(self.plans) && self.plans.exists(d, d.name == e.plan)))",fieldPath=".environments",message="an environment names a plan that spec.plans does not declare"
// +kubebuilder:validation:XValidation:rule="self.rules.all(r, !has(r.plan) || (has(self.plans) && self.plans.exists(d, d.name == r.plan)))",fieldPath=".rules",message="a rule names a plan that spec.plans does not declare"
// +kubebuilder:validation:XValidation:rule="!has(self.plans) || self.plans.all(p, !has(p.includes) || p.includes.all(i, self.plans.exists(d, d.name == i)))",fieldPath=".plans",message="includes names a plan that spec.plans does not declare"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultPlan) || (has(self.plans) && self.plans.exists(d, d.name == self.defaultPlan))",fieldPath=".defaultPlan",message="defaultPlan names a plan that spec.plans does not declare"
type APIKeyPolicySpec struct {
	// hosts are the requests' hosts that this policy decides: exact, or with a
	// wildcard as first label ("*.example.com" is every name below example.com).
	// They count only in namespaces that the operator lets claim hosts; the more
	// specific claim wins, then the older policy.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Hosts []Host `json:"hosts,omitempty"`

	// basePath is put before the paths of every rule that has none of its own.
	// +optional
	// +kubebuilder:default="/"
	BasePath BasePath `json:"basePath,omitempty"`

	// grants say who may issue which keys. Absent: the policy's own namespace,
	// everything.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Grants []Grant `json:"grants,omitempty"`

	// credentials are the places where callers may put the key. All of them are
	// taken off the request before it goes upstream; a request that fills two is
	// refused. Default: "Authorization: Bearer <key>".
	// +optional
	// +listType=atomic
	// +kubebuilder:default={{header: {name: Authorization, scheme: Bearer}}}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, has(a.header) && has(b.header) && a.header.name.lowerAscii() == b.header.name.lowerAscii() || has(a.query) && has(b.query) && a.query.name == b.query.name))",message="two credentials name the same place"
	Credentials []Credential `json:"credentials,omitempty"`

	// keyFormat is the shape of the tokens that are minted. Immutable.
	// +optional
	// +kubebuilder:default={encoding: Base62, length: 40}
	KeyFormat KeyFormat `json:"keyFormat,omitempty"`

	// environments tell kinds of keys apart, such as live and test, each by its own
	// prefix. The first is the default of new keys. Environments can be added, but
	// never changed or removed.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Environments []Environment `json:"environments"`

	// scopes are the permissions that keys can have.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// rules say what each route asks for. What no rule matches is denied. Of the
	// rules whose path matches, the most specific path decides alone; of its rules,
	// one that names the method beats one that names none.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	Rules []Rule `json:"rules"`

	// preflight says what becomes of CORS preflight requests that carry no key: Deny,
	// or Allow (an OPTIONS request with Origin and Access-Control-Request-Method is let
	// through to the upstream, anonymously).
	// +optional
	// +kubebuilder:default=Deny
	Preflight PreflightPolicy `json:"preflight,omitempty"`

	// requireTLS: true refuses requests that did not reach Envoy over TLS.
	// +optional
	RequireTLS bool `json:"requireTLS,omitempty"`

	// defaultPlan is the plan of keys that ask for none.
	// +optional
	DefaultPlan PlanName `json:"defaultPlan,omitempty"`

	// plans are levels of service: what rules may ask for, and how many requests a
	// key may make.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Plans []Plan `json:"plans,omitempty"`

	// limitFailure says what becomes of requests whose limit cannot be judged, as when
	// Redis is away: FailClosed (they are unavailable) or FailOpen (they are let
	// through, uncounted).
	// +optional
	// +kubebuilder:default=FailClosed
	LimitFailure LimitFailure `json:"limitFailure,omitempty"`

	// upstream says what the API behind Envoy is told about the caller.
	// +optional
	// +kubebuilder:default={headers: true, prefix: "x-apikey-"}
	Upstream Upstream `json:"upstream,omitempty"`

	// errors says what denied callers are told.
	// +optional
	// +kubebuilder:default={}
	Errors Errors `json:"errors,omitempty"`
}

// APIKeyPolicyStatus says whether a policy's spec is in force.
type APIKeyPolicyStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Accepted (the newest spec is in force) and HostsClaimed.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// keys is the number of APIKeys with a live token for this policy.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	Keys int64 `json:"keys"`
}
