package command

import (
	"strings"
	"testing"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// TestRotate: the new token is printed, the old one works on until it is ended, and the
// APIKey's own overlap is what it was.
func TestRotate(t *testing.T) {
	w := newWorld(t)
	first := strings.TrimSpace(w.run("create", "ci", "--policy", sample, "--scopes", "read", "--overlap", "2h").out)
	rotated := w.run("rotate", "ci", "--timeout", "10s")
	rotated.wants(t, outcome.Done, "the Secret ci is deleted")
	second := strings.TrimSpace(rotated.out)
	if !tokenShape.MatchString(rotated.out) || second == first {
		t.Fatalf("no new token was printed: %s", rotated.err)
	}
	w.becomes(second, outcome.Done, "yes")
	w.becomes(first, outcome.Done, "was replaced, and ends in ")
	w.run("describe", "ci").wants(t, outcome.Done, "\n  2 ", "\n  1 ", "the old token works on for 2h")
	w.run("list", "-o", "wide").wants(t, outcome.Done, "LIVE TOKENS")

	w.run("revoke", "ci", "--old").wants(t, outcome.Usage, "--yes")
	w.run("revoke", "ci", "--old", "--yes").wants(t, outcome.Done, "its old tokens ended")
	w.becomes(first, outcome.No, "replaced by a newer token")
	w.becomes(second, outcome.Done, "yes")
	if got := w.key("ci").Spec.Rotation.Overlap; got == nil || got.Hours() != 2 {
		t.Errorf("the overlap is %v now", got)
	}
	w.run("revoke", "ci", "--old", "--yes").wants(t, outcome.Done, "no old token that works")

	third := strings.TrimSpace(w.run("rotate", "ci", "--overlap", "0s", "--timeout", "10s").out)
	w.becomes(second, outcome.No, "replaced by a newer token")
	w.becomes(third, outcome.Done, "yes")
}

// TestRotateSuspended: a key that leaked is suspended, rotated, and resumed.
func TestRotateSuspended(t *testing.T) {
	w := newWorld(t)
	w.run("create", "ci", "--policy", sample, "--scopes", "read").wants(t, outcome.Done)
	w.run("suspend", "ci").wants(t, outcome.Done)
	rotated := w.run("rotate", "ci", "--overlap", "0s", "--timeout", "10s")
	rotated.wants(t, outcome.Done)
	token := strings.TrimSpace(rotated.out)
	w.becomes(token, outcome.No, "no, suspended")
	w.run("resume", "ci").wants(t, outcome.Done)
	w.becomes(token, outcome.Done, "yes")
}

// TestRotateAsks: the request is raised by one, over what was asked for before, without
// a word about the rest.
func TestRotateAsks(t *testing.T) {
	w := newCluster(t)
	w.run("create", "ci", "--policy", sample, "--overlap", "2h", "--wait=false").wants(t, outcome.Done)
	w.run("rotate", "ci", "--dry-run").wants(t, outcome.Done, "raised to 2 (dry run)")
	w.run("rotate", "ci", "--dry-run=server").wants(t, outcome.Done, "raised to 2 (server dry run)")
	for want := range int64(3) {
		w.run("rotate", "ci", "--wait=false").wants(t, outcome.Done, "spec.rotation.serial raised to")
		if got := w.key("ci").Spec.Rotation; got.Serial != want+2 || got.Overlap.Hours() != 2 {
			t.Errorf("asks for %+v, want serial %d", got, want+2)
		}
	}
	w.run("rotate", "ci", "--wait=false", "--overlap", "1d").wants(t, outcome.Done)
	if got := w.key("ci").Spec.Rotation; got.Serial != 5 || got.Overlap.Hours() != 24 {
		t.Errorf("asks for %+v", got)
	}
	w.run("rotate", "ci", "--overlap", "soon").wants(t, outcome.Usage, "--overlap: not a duration")
}
