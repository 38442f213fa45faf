// Package registration registers many keys that were made elsewhere, several at a time,
// so that it can be stopped and started again.
package registration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/hashlist"
)

// Registration registers keys.
type Registration struct {
	Cluster *cluster.Cluster
	// Template is what every APIKey asks for where its row does not say it.
	Template *v1alpha1.APIKey
	Rows     []hashlist.Row
	// Concurrency is how many are registered at a time, at least 1.
	Concurrency int
	// Client sends nothing but reads; Server has the API server judge and store nothing.
	Client, Server bool
	Progress       *Progress
}

// Result is what became of the rows.
type Result struct {
	// Created and Skipped count the APIKeys that were created, and those that were there.
	Created, Skipped int
	// Failed are the others that were tried, by line.
	Failed []Failure
	// there are the names of those that are there now.
	there []string
}

// Failure is a row that could not be registered.
type Failure struct {
	Row hashlist.Row
	Err error
}

// known is which APIKeys of the namespace were there before.
type known struct {
	// byName maps name → sha256, "" for a key that was minted.
	byName map[string]string
	// byHash maps sha256 → name.
	byHash map[string]string
}

// Run registers what is not registered. The error is what kept it from going on; what
// is wrong with single rows is in the result.
func (r *Registration) Run(ctx context.Context) (Result, error) {
	before, err := r.known(ctx)
	if err != nil {
		return Result{}, err
	}
	var mu sync.Mutex
	var result Result
	group, going := errgroup.WithContext(ctx)
	group.SetLimit(r.Concurrency)
	for _, row := range r.Rows {
		if going.Err() != nil {
			break
		}
		group.Go(func() error {
			created, err := r.one(going, before, row)
			if hopeless(going, err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			result.add(row, created, err)
			r.Progress.Step()
			return nil
		})
	}
	err = group.Wait()
	if ctx.Err() != nil { // else it is what ended the others
		err = ctx.Err()
	}
	r.Progress.End()
	slices.SortFunc(result.Failed, func(a, b Failure) int { return cmp.Compare(a.Row.Line, b.Row.Line) })
	return result, err
}

// add counts a row.
func (r *Result) add(row hashlist.Row, created bool, err error) {
	switch {
	case err != nil:
		r.Failed = append(r.Failed, Failure{row, err})
		return
	case created:
		r.Created++
	default:
		r.Skipped++
	}
	r.there = append(r.there, row.Name)
}

// hopeless reports whether an error would meet every other row, too: one that is no
// verdict of the API server's about the row, or one about the user or the namespace.
func hopeless(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	return ctx.Err() != nil || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) || meta.IsNoMatchError(err) ||
		apierrors.ReasonForError(err) == metav1.StatusReasonUnknown && !isDuplicate(err)
}

// known reads which APIKeys are there.
func (r *Registration) known(ctx context.Context) (*known, error) {
	keys, err := r.Cluster.Keys(ctx, r.Cluster.Namespace, labels.Everything())
	if err != nil {
		return nil, err
	}
	k := &known{byName: map[string]string{}, byHash: map[string]string{}}
	for i := range keys.Items {
		key := &keys.Items[i]
		k.byName[key.Name] = key.Spec.SHA256
		if key.Spec.SHA256 != "" {
			k.byHash[key.Spec.SHA256] = key.Name
		}
	}
	return k, nil
}

// duplicate is an error of a row that collides with an APIKey.
type duplicate struct{ why string }

// Error implements error.
func (d *duplicate) Error() string { return d.why }

func isDuplicate(err error) bool {
	var d *duplicate
	return errors.As(err, &d)
}

// one registers a row, and reports whether it was not there.
func (r *Registration) one(ctx context.Context, before *known, row hashlist.Row) (created bool, err error) {
	if hash, there := before.byName[row.Name]; there {
		return false, same(hash, row)
	}
	if other, there := before.byHash[row.SHA256]; there {
		return false, &duplicate{fmt.Sprintf("the key is registered as %s already", other)}
	}
	if r.Client {
		return true, nil
	}
	err = r.Cluster.Create(ctx, r.key(row), r.Server)
	if !apierrors.IsAlreadyExists(err) {
		return err == nil, err
	}
	found, err := r.Cluster.Key(ctx, row.Name) // somebody was quicker
	if err != nil {
		return false, err
	}
	return false, same(found.Spec.SHA256, row)
}

// same returns an error where the APIKey of a row's name is for another key.
func same(hash string, row hashlist.Row) error {
	switch hash {
	case row.SHA256:
		return nil
	case "":
		return &duplicate{"there is an APIKey of this name, and Keygate minted its key"}
	}
	return &duplicate{"there is an APIKey of this name, for another key"}
}

// key is the APIKey of a row.
func (r *Registration) key(row hashlist.Row) *v1alpha1.APIKey {
	key := r.Template.DeepCopy()
	key.Name, key.Spec.SHA256 = row.Name, row.SHA256
	if len(row.Scopes) > 0 {
		key.Spec.Scopes = nil
		for _, scope := range row.Scopes {
			key.Spec.Scopes = append(key.Spec.Scopes, v1alpha1.ScopeName(scope))
		}
	}
	key.Spec.Plan = cmp.Or(v1alpha1.PlanName(row.Plan), key.Spec.Plan)
	key.Spec.Environment = cmp.Or(row.Environment, key.Spec.Environment)
	key.Spec.DisplayName = cmp.Or(row.DisplayName, key.Spec.DisplayName)
	if row.ExpiresAt != nil {
		key.Spec.ExpiresAt = &metav1.Time{Time: *row.ExpiresAt}
	}
	return key
}
