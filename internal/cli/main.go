// Package cli is the program slipway: its commands and how they talk to people.
package cli

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/fleetcmd"
	"github.com/slipway-ci/slipway/internal/cli/remote"
	"github.com/slipway-ci/slipway/internal/demo"
	"github.com/slipway-ci/slipway/internal/program"
	"github.com/slipway-ci/slipway/internal/runner"
	"github.com/slipway-ci/slipway/internal/version"
)

// Main is the program. It returns the exit code. This one binary is also the
// supervisor of the process backend and the runner that the demo launches: they
// take over before anything else happens.
func Main() int {
	process.Main()
	if len(os.Args) == 2 && os.Args[1] == demo.RunnerArgument || filepath.Base(os.Args[0]) == program.RunnerName {
		return runner.Main(nil, os.Environ(), os.Stderr)
	}
	return command.Run(Root(), os.Args[1:])
}

// Root makes the command tree.
func Root() *cobra.Command {
	root := command.Group("slipway", "Slipway turns waiting CI jobs into one-job runners",
		demoCommand(), jobsCommand(), fleetcmd.Hosts(), fleetcmd.ScaleSets(), fleetcmd.Runners(), fleetcmd.Credentials(),
		hubCommand(), eventsCommand(), auditCommand(), tokensCommand(), whoamiCommand(), templatesCommand(), releaseCommand(), doctorCommand(), versionCommand())
	root.Version = version.Line("slipway")
	root.SetVersionTemplate("{{.Version}}\n")
	root.Long = root.Short + `.

"slipway demo" shows the whole way of five jobs, from waiting to done, on this
machine. Most other commands talk to a hub: SLIPWAY_URL is its address (default
` + remote.DefaultURL + `), SLIPWAY_TOKEN the admin token that its first start
printed, or one of "slipway tokens create".`
	return root
}
