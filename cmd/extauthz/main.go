// Command extauthz answers Envoy's external authorization checks: who is calling,
// and may they.
package main

import (
	"os"

	"keygate.dev/keygate/cmd/internal/program"
)

func main() { os.Exit(program.Main("extauthz", parseFlags, run)) }
