package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"keygate.dev/keygate/cmd/internal/version"
)

// options are what the command line says.
type options struct {
	// kubeconfig is a path; "": the pod's own service account.
	kubeconfig string
	// authority, server and clients are the Secrets, by namespace and name.
	authority types.NamespacedName
	server    types.NamespacedName
	clients   []types.NamespacedName
	// serverNames are the DNS names of the server's certificate.
	serverNames []string
	periods     periods
	// create makes Secrets that are not there; without it they are an error.
	create bool
	// now is the clock.
	now func() time.Time
	// output takes the log.
	output io.Writer
}

// periods are how long certificates are good.
type periods struct {
	// authority is the life of an authority's certificate, at least four times leaf.
	authority time.Duration
	// leaf is the life of the server's and the clients' certificates. They are renewed
	// when a third of it is left.
	leaf time.Duration
}

// parseFlags reads the command line. What is wrong with it is written to output,
// with the usage; so is the log later.
func parseFlags(args []string, output io.Writer) (options, error) {
	o := options{now: time.Now, output: output}
	f := flag.NewFlagSet("certs", flag.ContinueOnError)
	f.SetOutput(output)
	version.Register(f)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	authority := f.String("ca-secret", "", "namespace/name of the certificate authority's Secret")
	server := f.String("server-secret", "", "namespace/name of the Secret of extauthz's certificate")
	clients := f.String("client-secrets", "", "namespace/name of the Secret of each client's certificate, separated by commas")
	names := f.String("server-names", "", "DNS names of extauthz, separated by commas")
	f.DurationVar(&o.periods.authority, "ca-life", 2*365*24*time.Hour, "life of the authority's certificate, at least four times --life")
	f.DurationVar(&o.periods.leaf, "life", 90*24*time.Hour, "life of the other certificates; they are renewed when a third of it is left")
	f.BoolVar(&o.create, "create", false, "make the Secrets that are not there (default: they are an error)")
	err := f.Parse(args)
	if err != nil {
		return o, err
	}
	o.serverNames = split(*names)
	if err = errors.Join(o.readSecrets(*authority, *server, *clients), o.validate(f.NArg())); err != nil {
		fmt.Fprintln(output, "certs:", err)
	}
	return o, err
}

// readSecrets takes over the names of the Secrets.
func (o *options) readSecrets(authority, server, clients string) error {
	var authorityErr, serverErr error
	o.authority, authorityErr = parseName("--ca-secret", authority)
	o.server, serverErr = parseName("--server-secret", server)
	errs := []error{authorityErr, serverErr}
	for _, client := range split(clients) {
		name, err := parseName("--client-secrets", client)
		o.clients, errs = append(o.clients, name), append(errs, err)
	}
	seen := map[types.NamespacedName]bool{o.authority: true, o.server: true}
	for _, client := range o.clients {
		if seen[client] {
			errs = append(errs, fmt.Errorf("the Secret %s is named twice", client))
		}
		seen[client] = true
	}
	if o.authority == o.server {
		errs = append(errs, fmt.Errorf("the Secret %s is named twice", o.server))
	}
	return errors.Join(errs...)
}

// validate names every other flag that can't be as it is.
func (o *options) validate(rest int) error {
	var errs []error
	if rest > 0 {
		errs = append(errs, errors.New("there are no arguments, only flags"))
	}
	if len(o.serverNames) == 0 {
		errs = append(errs, errors.New("--server-names must not be empty"))
	}
	if o.periods.leaf < time.Hour {
		errs = append(errs, errors.New("--life must be at least 1h"))
	}
	if o.periods.authority < 4*o.periods.leaf {
		errs = append(errs, errors.New("--ca-life must be at least four times --life"))
	}
	return errors.Join(errs...)
}

// parseName reads "namespace/name".
func parseName(flag, value string) (types.NamespacedName, error) {
	namespace, name, _ := strings.Cut(value, "/")
	if namespace == "" || name == "" || strings.Contains(name, "/") {
		return types.NamespacedName{}, fmt.Errorf("%s: %q is not namespace/name", flag, value)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// split reads a list separated by commas; "" is an empty one.
func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
