package reconcile

import (
	"fmt"
	"strings"

	"keygate.dev/keygate/pkg/apikey"
)

// overlapHint tells of the older tokens that work, too, and what to do.
func (f *facts) overlapHint(d *desired) string {
	var parts []string
	for _, r := range d.older() {
		if !isRebuilt(r) && r.ExpiresAt != nil {
			parts = append(parts, fmt.Sprintf("%s until %s", r.Digest.ID(), stamp(*r.ExpiresAt)))
		}
	}
	hint := ""
	if len(parts) > 0 {
		hint = fmt.Sprintf(" %s, and with older ones (%s): have all callers use the newest before that", d.elected.Digest.ID(), strings.Join(parts, ", "))
	}
	for _, name := range f.spoiled {
		hint += fmt.Sprintf("; the stored Secret %s of an older token carries no seal of this installation, and its callers may be let in as before until the overlap is over: to end that now, delete it", name)
	}
	return hint
}

// handedOverHint tells of a token whose delivery Secret is gone.
func handedOverHint(r *apikey.Record) string {
	hint := "the token was delivered at " + stamp(*r.DeliveredAt) + " and its Secret is gone"
	if r.State == apikey.Revoked {
		return hint
	}
	return hint + "; who lost it raises spec.rotation.serial"
}

// rotationHint tells of a new token that is not there yet.
func (f *facts) rotationHint(rotating bool) string {
	switch {
	case !rotating:
		return ""
	case f.doubtful != "":
		return fmt.Sprintf("; no new token is issued while the stored Secret %s, which may be this APIKey's, carries no seal of this installation: an operator must restore it from a backup, or delete it", f.doubtful)
	case f.failure != nil:
		return "; the new token cannot be delivered: " + f.failure.message
	}
	return "; a new token is being issued"
}
