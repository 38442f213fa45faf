// Command selftest tries an installation: it makes a policy and a key, asks extauthz
// about requests with and without it, as Envoy would, revokes it, asks again, and
// removes what it made. It ends with 0 if every answer was the right one.
package main

import (
	"os"

	"keygate.dev/keygate/cmd/internal/program"
)

func main() { os.Exit(program.Main("selftest", parseFlags, run)) }
