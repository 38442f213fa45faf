package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"keygate.dev/keygate/cmd/internal/version"
)

// options are what the command line says.
type options struct {
	// kubeconfig is a path; "": the pod's own service account.
	kubeconfig string
	// namespace takes the policy and the key.
	namespace string
	// extauthz is the "host:port" of the gRPC server.
	extauthz string
	// cert, key and ca are PEM files; all or none. None: no TLS.
	cert, key, ca string
	// timeout bounds the test; removing what it made takes as long again at most.
	timeout time.Duration
	// output is told what was seen.
	output io.Writer
}

// parseFlags reads the command line. What is wrong with it is written to output,
// with the usage.
func parseFlags(args []string, output io.Writer) (options, error) {
	o := options{output: os.Stdout}
	f := flag.NewFlagSet("selftest", flag.ContinueOnError)
	f.SetOutput(output)
	version.Register(f)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	f.StringVar(&o.namespace, "namespace", "keygate-system", "namespace of the policy and the key that are tried")
	f.StringVar(&o.extauthz, "extauthz", "", "address of extauthz: host:port")
	f.StringVar(&o.cert, "tls-cert", "", "certificate file to show to extauthz, PEM (default: no TLS)")
	f.StringVar(&o.key, "tls-key", "", "key file of that certificate, PEM")
	f.StringVar(&o.ca, "tls-ca", "", "CA file that signs the certificate of extauthz, PEM")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "longest time for the test")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	err := o.validate(f.NArg())
	if err != nil {
		fmt.Fprintln(output, "selftest:", err)
	}
	return o, err
}

// validate names every flag that can't be as it is.
func (o *options) validate(rest int) error {
	var errs []error
	if rest > 0 {
		errs = append(errs, errors.New("there are no arguments, only flags"))
	}
	if o.namespace == "" {
		errs = append(errs, errors.New("--namespace must not be empty"))
	}
	if o.extauthz == "" {
		errs = append(errs, errors.New("--extauthz must not be empty"))
	}
	if files := [3]bool{o.cert != "", o.key != "", o.ca != ""}; files != [3]bool{} && files != [3]bool{true, true, true} {
		errs = append(errs, errors.New("--tls-cert, --tls-key and --tls-ca go together"))
	}
	if o.timeout <= 0 {
		errs = append(errs, errors.New("--timeout must be above 0"))
	}
	return errors.Join(errs...)
}
