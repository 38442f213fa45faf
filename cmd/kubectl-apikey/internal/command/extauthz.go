package command

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/labels"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/checker"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// componentFlags say where Keygate's own pods are.
type componentFlags struct{ namespace, selector string }

// add adds the flags.
func (f *componentFlags) add(cmd *cobra.Command, selector string) {
	cmd.Flags().StringVar(&f.namespace, "system-namespace", "keygate-system", "namespace of Keygate's pods")
	cmd.Flags().StringVar(&f.selector, "pods", selector, "labels of the pods that are meant")
}

// labels reads the labels.
func (f *componentFlags) labels() (labels.Selector, error) {
	selector, err := labels.Parse(f.selector)
	if err != nil {
		return nil, usage("", "--pods: %w", err)
	}
	return selector, nil
}

// extauthzFlags say which extauthz is asked.
type extauthzFlags struct {
	address string
	options checker.Options
	pods    componentFlags
	timeout time.Duration
}

// add adds the flags.
func (f *extauthzFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.address, "extauthz", "", "HOST:PORT of an extauthz (default: a port is forwarded to one of its pods)")
	flags.BoolVar(&f.options.Plaintext, "plaintext", false, "send the token over the network without TLS")
	flags.StringVar(&f.options.CA, "extauthz-ca", "", "CA file that signs extauthz's certificate, PEM")
	flags.StringVar(&f.options.Cert, "extauthz-cert", "", "certificate file to show to extauthz, PEM")
	flags.StringVar(&f.options.Key, "extauthz-key", "", "key file of that certificate, PEM")
	flags.StringVar(&f.options.ServerName, "extauthz-server-name", "", "name in extauthz's certificate (default: HOST)")
	flags.DurationVar(&f.timeout, "timeout", 20*time.Second, "longest wait for an answer")
	f.pods.add(cmd, "app.kubernetes.io/part-of=keygate,app.kubernetes.io/component=extauthz")
}

// check refuses what can't be.
func (f *extauthzFlags) check() error {
	if (f.options.Cert == "") != (f.options.Key == "") {
		return usage("", "--extauthz-cert and --extauthz-key go together")
	}
	if f.options.Plaintext && f.options.TLS() {
		return usage("", "--plaintext excludes what is said about TLS")
	}
	_, err := f.pods.labels()
	return err
}

// dial connects to extauthz, through the API server where no address is given.
func (f *extauthzFlags) dial(ctx context.Context, c *cluster.Cluster) (*grpc.ClientConn, error) {
	address := f.address
	if address == "" {
		var err error
		if address, err = f.forward(ctx, c); err != nil {
			return nil, err
		}
	}
	conn, err := checker.Dial(address, f.options)
	if errors.Is(err, checker.ErrPlaintext) {
		return nil, usage("give --extauthz-ca for TLS, or leave --extauthz out to go through the API server; --plaintext if that network is yours alone", "%s: %w", address, err)
	}
	if err != nil {
		return nil, usage("", "%w", err)
	}
	return conn, nil
}

// forward forwards a port to one of extauthz's pods.
func (f *extauthzFlags) forward(ctx context.Context, c *cluster.Cluster) (string, error) {
	selector, err := f.pods.labels()
	if err != nil {
		return "", err
	}
	pods, err := c.Pods(ctx, f.pods.namespace, selector)
	if err != nil {
		return "", err
	}
	if len(pods) == 0 {
		return "", outcome.New(outcome.NotFound, "say where it is with --extauthz HOST:PORT, or with --system-namespace and --pods",
			"no pod of extauthz runs in %s (%s)", f.pods.namespace, f.pods.selector)
	}
	return checker.Forward(ctx, c.Config, &pods[rand.IntN(len(pods))])
}
