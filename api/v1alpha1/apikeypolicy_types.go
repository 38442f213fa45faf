package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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

// EnvironmentName names one of a policy's environments.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type EnvironmentName string

// PlanName names one of a policy's plans.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type PlanName string

// PreflightPolicy is what becomes of CORS preflight requests.
//
// +kubebuilder:validation:Enum=Deny;Allow
type PreflightPolicy string

// What becomes of CORS preflight requests.
const (
	PreflightDeny  PreflightPolicy = "Deny"
	PreflightAllow PreflightPolicy = "Allow"
)

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

// KeyFormat is the shape of minted tokens: the environment's prefix, a public id
// and an underscore if there is an idLength, then a secret of random characters.
//
// +kubebuilder:validation:XValidation:rule="self.encoding == 'Hex' ? self.length >= 32 : self.length >= 22",fieldPath=".length",message="the secret must have at least 128 random bits: 32 characters with Hex, 22 with Base62"
type KeyFormat struct {
	// encoding is Hex (0-9a-f, 4 bits a character) or Base62 (0-9A-Za-z, 5.95 bits
	// a character).
	// +optional
	// +kubebuilder:default=Base62
	Encoding Encoding `json:"encoding,omitempty"`

	// length is the number of random characters: at least 128 bits' worth.
	// +optional
	// +kubebuilder:default=40
	// +kubebuilder:validation:Minimum=22
	// +kubebuilder:validation:Maximum=256
	Length int32 `json:"length,omitempty"`

	// idLength is the number of random characters of a public part between prefix and
	// secret: 6 gives sk_live_abc123_…; it counts for nothing in the secret's strength.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	IDLength int32 `json:"idLength,omitempty"`
}

// Encoding is the alphabet of a secret.
//
// +kubebuilder:validation:Enum=Hex;Base62
type Encoding string

// The alphabets of a secret.
const (
	EncodingHex    Encoding = "Hex"
	EncodingBase62 Encoding = "Base62"
)

// Environment is one kind of keys of a policy.
type Environment struct {
	// name of the environment, such as live.
	// +required
	Name EnvironmentName `json:"name"`

	// prefix that every token of the environment begins with, such as sk_live_.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
	Prefix string `json:"prefix"`

	// plan that every key of the environment has, whatever it asks for.
	// +optional
	Plan PlanName `json:"plan,omitempty"`
}

// Scope is a permission that keys can have.
type Scope struct {
	// name of the scope: a scope-token of RFC 6749, section 3.3.
	// +required
	Name ScopeName `json:"name"`

	// description says what the scope lets a key do.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Description string `json:"description,omitempty"`

	// includes are scopes that come with this one, and those that come with them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Includes []ScopeName `json:"includes,omitempty"`
}

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
