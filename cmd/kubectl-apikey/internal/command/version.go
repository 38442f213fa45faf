package command

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/api/v1alpha1"
)

func newVersion(s *session) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "The version of this plugin, and of the API that it speaks",
		Args:              named(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(s.Out, "kubectl-apikey %s, API %s\n", version(), v1alpha1.GroupVersion)
			return err
		},
	}
}

// version is the module's, as the go command stamps it; of a build out of a work tree
// it is the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
