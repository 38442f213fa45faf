// Command kubectl-apikey is `kubectl apikey`: everything that people do with API keys,
// from creating one to finding out whose a token is. Linked as kubectl_complete-apikey
// it completes such commands for kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/command"
)

// completer is the name under which kubectl looks for a plugin's completion.
const completer = "kubectl_complete-apikey"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == completer {
		args = append([]string{"__complete"}, args...)
	}
	os.Exit(int(command.Run(ctx, args, genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr})))
}
