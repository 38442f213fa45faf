package policy

import (
	"strconv"
	"strings"

	"keygate.dev/keygate/api/v1alpha1"
)

// defaultContentType is that of a problem document (RFC 9457, section 3).
const defaultContentType = "application/problem+json"

// denials makes the denials of one policy. rendered must not be nil.
type denials struct {
	// realm and scheme of the challenge.
	realm, scheme string
	// errors says what the policy's denials have in common.
	errors *v1alpha1.Errors
	// bodies maps reason, status or "default" → the body given for it.
	bodies map[string]*element
	// rendered maps what a body is made from → the body, so that rules which say the
	// same share one.
	rendered map[rendering]bodies
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
	reason          Reason
	message, scopes string
}

// bodies are the two forms of one body.
type bodies struct{ keyed, plain template }

// byReason makes the denials that depend on no rule.
func (d *denials) byReason() map[Reason]*Denial {
	m := make(map[Reason]*Denial, len(outcomes))
	for i := range outcomes {
		o := &outcomes[i]
		m[o.reason] = d.denial(o, o.message, "")
	}
	return m
}

// insufficientScope makes the denial of a rule that needs scopes. message is the
// rule's own; "": the reason's.
func (d *denials) insufficientScope(message string, scopes []string) *Denial {
	o := InsufficientScope.outcome()
	if message == "" {
		message = o.message
	}
	return d.denial(o, message, strings.Join(scopes, " "))
}

// denial makes one denial.
func (d *denials) denial(o *outcome, message, scopes string) *Denial {
	body := d.body(o, message, scopes)
	contentType := d.errors.ContentType
	if contentType == "" {
		contentType = defaultContentType
	}
	return &Denial{
		Status:      o.status,
		ContentType: contentType,
		Challenge:   d.challenge(o, scopes),
		RetryAfter:  o.retryAfter,
		keyed:       body.keyed,
		plain:       body.plain,
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
func (d *denials) body(o *outcome, message, scopes string) bodies {
	chosen := problemDocument(o)
	for _, key := range []string{string(o.reason), strconv.Itoa(o.status), defaultBody} {
		if given := d.bodies[key]; given != nil {
			chosen = given
			break
		}
	}
	key := rendering{reason: o.reason}
	if chosen.mentions(messageValue) {
		key.message = message
	}
	if chosen.mentions(requiredScopesValue) {
		key.scopes = scopes
	}
	made, ok := d.rendered[key]
	if !ok && d.spent <= maxRendered {
		made = d.render(chosen, o, message, scopes)
		d.rendered[key] = made
		d.spent += made.plain.size() + made.keyed.size()
	}
	return made
}

// render makes both forms of a body.
func (d *denials) render(chosen *element, o *outcome, message, scopes string) bodies {
	known := map[placeholder]string{
		reasonValue: string(o.reason), messageValue: message, docsValue: d.errors.Docs, requiredScopesValue: scopes,
	}
	if o.retryAfter > 0 {
		known[retryAfterValue] = strconv.Itoa(o.retryAfter)
	}
	made := bodies{plain: render(chosen, known, false)}
	made.keyed = made.plain
	if chosen.mentions(keyIDValue) {
		made.keyed = render(chosen, known, true)
	}
	return made
}
