// Command controller turns APIKeys and APIKeyPolicies into sealed records, and
// hands each token over once.
package main

import (
	"os"

	"keygate.dev/keygate/cmd/internal/program"
)

func main() { os.Exit(program.Main("controller", parseFlags, run)) }
