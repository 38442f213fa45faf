package policy

import "keygate.dev/keygate/api/v1alpha1"

// HeaderLine is what comes before the key in the header line of a caller, such as
// "Authorization: Bearer ", by the first header among the credentials; "": keys are
// taken in query parameters only.
func (p *Policy) HeaderLine() string { return p.headerLine }

// headerLine is the beginning of a header line, as the policy writes it.
func headerLine(given []v1alpha1.Credential) string {
	if given == nil {
		given = defaultCredentials()
	}
	for _, c := range given {
		switch {
		case c.Header == nil:
		case c.Header.Scheme == "":
			return c.Header.Name + ": "
		default:
			return c.Header.Name + ": " + c.Header.Scheme + " "
		}
	}
	return ""
}
