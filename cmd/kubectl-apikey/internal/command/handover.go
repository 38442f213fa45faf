package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/judgement"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/route"
)

// handOver prints the token of an APIKey that works, and takes its Secret away: after
// it was printed, and only if it could be. What is told about it goes to standard
// error, so that the token can be piped.
func (s *session) handOver(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey, keepSecret bool) error {
	delivery, err := c.Delivery(ctx, key)
	if err != nil {
		return explainGone(key, err)
	}
	defer clear(delivery.Token)
	line := append(append(make([]byte, 0, len(delivery.Token)+1), delivery.Token...), '\n')
	_, err = s.Out.Write(line)
	clear(line)
	if err != nil {
		return fmt.Errorf("print the token: %w (it is still in the Secret %s)", err, delivery.Secret)
	}
	s.introduce(ctx, c, key, delivery)
	if keepSecret || key.Spec.Delivery.Retain == v1alpha1.RetainKeep {
		s.say("The token stays in the Secret %s.", delivery.Secret.Name)
		return nil
	}
	if err := c.Collect(ctx, key, delivery); err != nil {
		return outcome.New(outcome.Refused, "whoever may read that Secret can read the token: have it deleted", "%w", err)
	}
	s.say("This was the only time that it is shown: the Secret %s is deleted.", delivery.Secret.Name)
	return nil
}

// introduce tells which key this is, and how it is used.
func (s *session) introduce(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey, d *cluster.Delivery) {
	var scopes []string
	for _, scope := range key.Status.Scopes {
		scopes = append(scopes, string(scope))
	}
	may := "no scopes"
	if len(scopes) > 0 {
		may = "scopes " + strings.Join(scopes, ",")
	}
	ends := "never expires"
	if key.Spec.ExpiresAt != nil {
		ends = "expires " + lifetime.Say(&key.Spec.ExpiresAt.Time, s.now())
	}
	s.say("Key %s of %s/%s: %s, %s.", d.KeyID, key.Namespace, key.Name, may, ends)
	if line := s.example(ctx, c, key); line != "" {
		s.say("Try it (it asks for the key; paste it, nothing is shown):\n  %s", line)
	}
}

// example is a line that uses a key, "" where the user may not read the policy.
func (s *session) example(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey) string {
	p, err := c.Policy(ctx, cluster.PolicyOf(key))
	if err != nil {
		return ""
	}
	compiled, _, err := cluster.Compile(p)
	if err != nil {
		return ""
	}
	sample, ok := route.ToShow(route.Samples(&p.Spec, compiled), compiled, mayOf(key))
	if !ok {
		return ""
	}
	return route.Curl(&p.Spec, compiled, sample)
}

// mayOf is what an APIKey may do.
func mayOf(key *v1alpha1.APIKey) route.Key {
	may := route.Key{Environment: key.Status.Environment, Plan: string(key.Status.Plan)}
	for _, scope := range key.Status.Scopes {
		may.Scopes = append(may.Scopes, string(scope))
	}
	return may
}

// explainGone says why there is no token to hand over.
func explainGone(key *v1alpha1.APIKey, err error) error {
	if errors.Is(err, cluster.ErrForeign) {
		return outcome.New(outcome.Refused, "see `kubectl apikey describe "+key.Name+"`", "%w", err)
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	switch {
	case key.Spec.SHA256 != "":
		return outcome.New(outcome.NotFound, "whoever made it has it", "%s was made elsewhere and registered by its hash: its token was never here", key.Name)
	case judgement.InForce(key) == nil:
		return outcome.New(outcome.NotFound, "see `kubectl apikey describe "+key.Name+"`", "%s has no token yet", key.Name)
	}
	return outcome.New(outcome.NotFound, "`kubectl apikey rotate "+key.Name+"` makes a new one", "the token of %s was collected: nobody can read it again", key.Name)
}
