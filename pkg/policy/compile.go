package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// Policy is a compiled APIKeyPolicy. It is immutable and safe for concurrent use.
type Policy struct {
	ref  apikey.Ref
	name string

	scopes      scopes
	plans       plans
	routes      *node
	credentials []Credential
	// headerLine comes before the key in the header line of a caller.
	headerLine string
	identity   Identity
	grants     []grant
	// environments maps name → format of its tokens.
	environments       map[string]apikey.Format
	defaultEnvironment string
	requireTLS         bool
	allowPreflight     bool
	failOpen           bool
	// denials maps reason → the answer that depends on no rule.
	denials map[Reason]*Denial
}

// Ref is the APIKeyPolicy that the policy was compiled from.
func (p *Policy) Ref() apikey.Ref { return p.ref }

// String is "namespace/name".
func (p *Policy) String() string { return p.name }

// Compile makes a policy of its source. What the schema fills in when a field is
// absent is filled in here too. The error joins all problems, each a sentence that
// begins with the field and says what to do; nothing in doubt is compiled.
func Compile(src *Source) (*Policy, error) {
	found := &problems{}
	checkSource(src, found)
	spec := &src.Spec
	checkHosts(spec.Hosts, found)
	p := &Policy{
		ref:          apikey.Ref{Namespace: src.Namespace, Name: src.Name, UID: src.UID},
		name:         src.Namespace + "/" + src.Name,
		scopes:       compileScopes(spec.Scopes, found),
		plans:        compilePlans(spec, found),
		environments: compileFormats(spec, found),
		identity:     compileIdentity(&spec.Upstream, found),
		requireTLS:   spec.RequireTLS,
		headerLine:   headerLine(spec.Credentials),
	}
	p.compileChoices(spec, found)
	if len(spec.Environments) > 0 {
		p.defaultEnvironment = string(spec.Environments[0].Name)
	}
	p.grants = (&grantCompiler{own: src.Namespace, spec: spec, scopes: &p.scopes, plans: &p.plans, found: found}).compile()
	var scheme string
	p.credentials, scheme = compileCredentials(spec.Credentials, &p.identity, found)
	checkErrors(&spec.Errors, found)
	denials := &denials{
		headers: compileErrorHeaders(spec.Errors.Headers, found),
		realm:   src.Name, scheme: scheme, errors: &spec.Errors,
		bodies: compileBodies(spec.Errors.Bodies, found), rendered: map[rendering]*body{},
	}
	p.denials = denials.byReason()
	p.routes = (&ruleCompiler{spec: spec, scopes: &p.scopes, plans: &p.plans, denials: denials, found: found}).compile()
	if denials.full() {
		found.add(field.NewPath("spec", "errors", "bodies"), "with every rule's message in its place the bodies have more than %d KiB: shorten them, or the messages", maxRendered>>10)
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// RequireTLS: requests that did not come over TLS are to be refused.
func (p *Policy) RequireTLS() bool { return p.requireTLS }

// AllowPreflight: CORS preflight requests without a key are to be let through.
func (p *Policy) AllowPreflight() bool { return p.allowPreflight }

// FailOpen: requests whose limit cannot be judged are to be let through.
func (p *Policy) FailOpen() bool { return p.failOpen }

// compileChoices reads the fields that are one word or another.
func (p *Policy) compileChoices(spec *v1alpha1.APIKeyPolicySpec, found *problems) {
	switch spec.Preflight {
	case v1alpha1.PreflightDeny, "":
	case v1alpha1.PreflightAllow:
		p.allowPreflight = true
	default:
		found.add(field.NewPath("spec", "preflight"), "%q is not possible: write Deny or Allow", spec.Preflight)
	}
	switch spec.LimitFailure {
	case v1alpha1.LimitFailClosed, "":
	case v1alpha1.LimitFailOpen:
		p.failOpen = true
	default:
		found.add(field.NewPath("spec", "limitFailure"), "%q is not possible: write FailClosed or FailOpen", spec.LimitFailure)
	}
}

// checkSource notes what is wrong with the policy's own names.
func checkSource(src *Source, found *problems) {
	at := field.NewPath("metadata")
	namespaceShape.check(found, at.Child("namespace"), src.Namespace)
	nameShape.check(found, at.Child("name"), src.Name)
	if src.UID == "" {
		found.add(at.Child("uid"), "there is none: compile what the API server returned")
	}
}

// checkErrors notes what is wrong with spec.errors besides the bodies.
func checkErrors(e *v1alpha1.Errors, found *problems) {
	at := field.NewPath("spec", "errors")
	if e.ContentType != "" {
		contentTypeShape.check(found, at.Child("contentType"), e.ContentType)
	}
	if e.Docs != "" {
		docsShape.check(found, at.Child("docs"), e.Docs)
	}
}
