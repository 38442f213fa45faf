package policy

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// defaultContentType is that of a problem document (RFC 9457, section 3).
const defaultContentType = "application/problem+json"

// maxErrorHeaders is how many headers of one's own denials can have, as in the schema of
// the API.
const maxErrorHeaders = 16

// ownHeaders of denials are set by Keygate or belong to the protocol.
var ownHeaders = map[string]bool{
	"content-type": true, "content-length": true, "transfer-encoding": true, "connection": true, "upgrade": true,
	"trailer": true, "te": true, "host": true, "www-authenticate": true, "retry-after": true, "x-request-id": true,
	"ratelimit": true, "ratelimit-policy": true, "grpc-status": true, "grpc-message": true, "grpc-status-details-bin": true,
}

// denials makes the denials of one policy. rendered must not be nil.
type denials struct {
	// realm and scheme of the challenge.
	realm, scheme string
	// errors says what the policy's denials have in common.
	errors *v1alpha1.Errors
	// headers of all denials.
	headers [][2]string
	// bodies maps reason, status or "default" → the body given for it.
	bodies map[string]*element
	// rendered maps what a body is made from → the body, so that rules which say the
	// same share one.
	rendered map[rendering]*body
	// spent is the size of all in rendered, in bytes.
	spent int
}

// maxRendered is how much the bodies of one policy may take when rendered, in bytes:
// every extauthz holds those of every policy of the cluster, and few bytes of a
// policy can ask for many, with one body of many placeholders and a message per
// rule. What is past it is not rendered.
const maxRendered = 1 << 20

// rendering is what a body is made from.
type rendering struct {
	reason                Reason
	message, scopes, plan string
}

// byReason makes the denials that depend on no rule.
func (d *denials) byReason() map[Reason]*Denial {
	m := make(map[Reason]*Denial, len(outcomes))
	for i := range outcomes {
		o := &outcomes[i]
		m[o.reason] = d.denial(o, rendering{})
	}
	return m
}

// insufficientScope makes the denial of a rule that needs scopes. message is the
// rule's own; "": the reason's.
func (d *denials) insufficientScope(message string, scopes []string) *Denial {
	return d.denial(InsufficientScope.outcome(), rendering{message: message, scopes: strings.Join(scopes, " ")})
}

// planRequired makes the denial of a rule that needs a plan. message is the rule's own;
// "": the reason's.
func (d *denials) planRequired(message, plan string) *Denial {
	return d.denial(PlanRequired.outcome(), rendering{message: message, plan: plan})
}

// denial makes one denial.
func (d *denials) denial(o *outcome, from rendering) *Denial {
	from.reason = o.reason
	if from.message == "" {
		from.message = o.message
	}
	contentType := d.errors.ContentType
	if contentType == "" {
		contentType = defaultContentType
	}
	return &Denial{
		Status:         o.status,
		ContentType:    contentType,
		Challenge:      d.challenge(o, from.scopes),
		RetryAfter:     o.retryAfter,
		Headers:        d.headers,
		Message:        from.message,
		RequiredScopes: from.scopes,
		RequiredPlan:   from.plan,
		Docs:           d.errors.Docs,
		body:           d.body(o, from),
	}
}

// challenge is the WWW-Authenticate of a denial: the scheme, then realm, error and
// scope as in RFC 6750, section 3. Realm and scopes have no character that would
// have to be quoted.
func (d *denials) challenge(o *outcome, scopes string) string {
	if !o.challenge {
		return ""
	}
	c := d.scheme + ` realm="` + d.realm + `"`
	if o.code != "" {
		c += `, error="` + o.code + `"`
	}
	if scopes != "" {
		c += `, scope="` + scopes + `"`
	}
	return c
}

// body chooses and renders a body: that of the reason, else of the status, else the
// default one, else a problem document.
func (d *denials) body(o *outcome, from rendering) *body {
	chosen := problemDocument(o)
	for _, key := range []string{string(o.reason), strconv.Itoa(o.status), defaultBody} {
		if given := d.bodies[key]; given != nil {
			chosen = given
			break
		}
	}
	known := map[placeholder]string{
		reasonValue: string(o.reason), messageValue: from.message, docsValue: d.errors.Docs,
		requiredScopesValue: from.scopes, requiredPlanValue: from.plan,
	}
	if o.retryAfter > 0 {
		known[retryAfterValue] = strconv.Itoa(o.retryAfter)
	}
	from.keepMentioned(chosen)
	made, ok := d.rendered[from]
	if !ok && !d.full() {
		made = newBody(chosen, known, o.reason)
		d.rendered[from] = made
		d.spent += made.size()
	}
	return made
}

// full reports whether more was rendered than a policy may have. What is not rendered
// then is no body, and the policy is refused.
func (d *denials) full() bool { return d.spent > maxRendered }

// keepMentioned forgets what makes no difference to a body.
func (r *rendering) keepMentioned(chosen *element) {
	if !chosen.mentions(messageValue) {
		r.message = ""
	}
	if !chosen.mentions(requiredScopesValue) {
		r.scopes = ""
	}
	if !chosen.mentions(requiredPlanValue) {
		r.plan = ""
	}
}

// compileErrorHeaders reads the headers that all denials have.
func compileErrorHeaders(given []v1alpha1.ErrorHeader, found *problems) [][2]string {
	at := field.NewPath("spec", "errors", "headers")
	if !checkSize(found, at, given, maxErrorHeaders) {
		return nil
	}
	var out [][2]string
	seen := map[string]bool{}
	for i, h := range given {
		errorHeaderShape.check(found, at.Index(i).Child("name"), h.Name)
		errorValueShape.check(found, at.Index(i).Child("value"), h.Value)
		if ownHeaders[h.Name] || strings.HasPrefix(h.Name, "x-envoy-") {
			found.add(at.Index(i).Child("name"), "%q is set by Keygate or belongs to the protocol: leave it out", h.Name)
		}
		if seen[h.Name] {
			found.add(at.Index(i).Child("name"), "the header %q is there twice: leave one out", h.Name)
		}
		seen[h.Name] = true
		out = append(out, [2]string{h.Name, h.Value})
	}
	return out
}
