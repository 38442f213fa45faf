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
	routes      *node
	credentials []Credential
	identity    Identity
	grants      []grant
	// environments maps name → format of its tokens.
	environments       map[string]apikey.Format
	defaultEnvironment string
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
		environments: compileFormats(spec, found),
		identity:     compileIdentity(&spec.Upstream, found),
	}
	if len(spec.Environments) > 0 {
		p.defaultEnvironment = string(spec.Environments[0].Name)
	}
	p.grants = (&grantCompiler{own: src.Namespace, spec: spec, scopes: &p.scopes, found: found}).compile()
	var scheme string
	p.credentials, scheme = compileCredentials(spec.Credentials, &p.identity, found)
	checkErrors(&spec.Errors, found)
	denials := &denials{
		realm: src.Name, scheme: scheme, errors: &spec.Errors,
		bodies: compileBodies(spec.Errors.Bodies, found), rendered: map[rendering]bodies{},
	}
	p.denials = denials.byReason()
	p.routes = (&ruleCompiler{spec: spec, scopes: &p.scopes, denials: denials, found: found}).compile()
	if denials.spent > maxRendered {
		found.add(field.NewPath("spec", "errors", "bodies"), "with every rule's message in its place the bodies have more than %d KiB: shorten them, or the messages", maxRendered>>10)
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	return p, nil
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
