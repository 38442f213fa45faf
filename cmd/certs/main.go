// Command certs makes and renews the certificates of the connection between Envoy
// and extauthz: a certificate authority, the server's certificate and the clients',
// each in a Secret. It does what is due and ends; a Job and a CronJob run it.
package main

import (
	"os"

	"keygate.dev/keygate/cmd/internal/program"
)

func main() { os.Exit(program.Main("certs", parseFlags, run)) }
