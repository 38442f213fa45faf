package outcome

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestOf: every way to fail has its code, wrapped or not, and what a person can mend
// says how.
func TestOf(t *testing.T) {
	keys := schema.GroupResource{Group: "keygate.dev", Resource: "apikeys"}
	noServer := &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{}}}
	for name, tc := range map[string]struct {
		err  error
		code Code
		hint string
	}{
		"nothing":            {nil, Done, ""},
		"own":                {New(Usage, "say --yes", "no"), Usage, "say --yes"},
		"own, wrapped":       {fmt.Errorf("rotate: %w", New(Late, "wait", "late")), Late, "wait"},
		"all said":           {Quiet(Partly), Partly, ""},
		"no such key":        {apierrors.NewNotFound(keys, "ci"), NotFound, "kubectl apikey list"},
		"Keygate is not in":  {noServer, NotFound, "not installed"},
		"no such kind":       {&meta.NoKindMatchError{}, NotFound, "not installed"},
		"forbidden":          {apierrors.NewForbidden(keys, "ci", errors.New("no")), Refused, "right"},
		"there already":      {apierrors.NewAlreadyExists(keys, "ci"), Refused, ""},
		"conflict":           {apierrors.NewConflict(keys, "ci", errors.New("no")), Refused, ""},
		"late":               {fmt.Errorf("wait: %w", context.DeadlineExceeded), Late, "--timeout"},
		"interrupted":        {fmt.Errorf("wait: %w", context.Canceled), Failed, "kubectl apikey list"},
		"the server is away": {&url.Error{Err: syscall.ECONNREFUSED}, Failed, "cluster-info"},
		"anything else":      {errors.New("boom"), Failed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Of(tc.err)
			if got.Code != tc.code || !strings.Contains(got.Hint, tc.hint) || tc.hint == "" && got.Hint != "" {
				t.Errorf("code %d, hint %q; want %d, %q", got.Code, got.Hint, tc.code, tc.hint)
			}
			if quiet := tc.err != nil && tc.err.Error() == ""; quiet != (got.Err == nil && tc.err != nil) {
				t.Errorf("says %v", got.Err)
			}
		})
	}
}
