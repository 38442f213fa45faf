// Package version says which build a program is.
package version

import (
	"flag"
	"fmt"
	"io"
	"slices"
)

// Version is set by the linker: `git describe` of the tree that was built.
var Version = "unknown"

// name of the flag.
const name = "version"

// Register lists the flag in a program's usage; [Asked] acts on it.
func Register(f *flag.FlagSet) { f.Bool(name, false, "print the version and exit") }

// Asked reports whether a command line asks for the version, and if so prints it.
func Asked(args []string, output io.Writer) bool {
	if !slices.Contains(args, "--"+name) && !slices.Contains(args, "-"+name) {
		return false
	}
	fmt.Fprintln(output, Version)
	return true
}
