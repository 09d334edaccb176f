// Command slipway is Slipway's command line: a demo, jobs and tokens of a hub,
// template files, and a doctor.
package main

import (
	"os"

	"github.com/slipway-ci/slipway/internal/cli"
)

func main() { os.Exit(cli.Main()) }
