// Package outcome is how a command ends: an exit code that scripts can branch on, and
// a sentence that says what to do next.
package outcome

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// Code is what a process exits with.
type Code int

// The exit codes. They are documented in docs/cli.md, and none ever changes meaning.
const (
	// Done: it is done, or the answer is yes.
	Done Code = 0
	// No: the answer is no, or the person at the terminal said no.
	No Code = 1
	// Usage: the command line or an input file can't be as it is; nothing was done.
	Usage Code = 2
	// NotFound: there is no such APIKey, policy or file, or its token is gone.
	NotFound Code = 3
	// Refused: the API server or the policy says no to this user or to this key.
	Refused Code = 4
	// Late: it did not happen within --timeout, and may still.
	Late Code = 5
	// Partly: some of many were done, and what is left is reported.
	Partly Code = 6
	// Failed: anything else, such as a cluster that can't be reached.
	Failed Code = 7
)

// Error ends a command.
type Error struct {
	// Code of the process.
	Code Code
	// Err is what went wrong; nil: all was said on the way.
	Err error
	// Hint is what to do about it, "" where Err says it.
	Hint string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// New ends a command with a code, what went wrong and what to do about it.
func New(code Code, hint, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...), Hint: hint}
}

// Quiet ends a command about which all was said already.
func Quiet(code Code) error { return &Error{Code: code} }

// Of gives an error its code and, where it has none of its own, a hint.
func Of(err error) *Error {
	var ended *Error
	switch {
	case err == nil:
		return &Error{}
	case errors.As(err, &ended):
		return &Error{Code: ended.Code, Err: said(err, ended), Hint: ended.Hint}
	case meta.IsNoMatchError(err), unknownKind(err):
		return &Error{NotFound, err, "Keygate is not installed in this cluster: see `kubectl api-resources --api-group=keygate.dev`, or choose another --context"}
	case apierrors.IsNotFound(err):
		return &Error{NotFound, err, "see `kubectl apikey list`, or choose another --namespace"}
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &Error{Refused, err, "you lack a right that this needs: ask who administers the namespace"}
	case apierrors.IsAlreadyExists(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsConflict(err):
		return &Error{Code: Refused, Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Failed, fmt.Errorf("interrupted: %w", err), "what was sent may have been done: see `kubectl apikey list`"}
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err):
		return &Error{Late, err, "try again, or with a longer --timeout"}
	case utilnet.IsConnectionRefused(err), utilnet.IsConnectionReset(err):
		return &Error{Failed, err, "the API server can't be reached: see `kubectl cluster-info`"}
	}
	return &Error{Code: Failed, Err: err}
}

// said is err, nil where the Error that it wraps has nothing to say.
func said(err error, ended *Error) error {
	if ended.Err == nil {
		return nil
	}
	return err
}

// unknownKind reports whether the API server does not serve the kind that was asked
// for: of an object that is not there, its answer names the object.
func unknownKind(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "")
}
