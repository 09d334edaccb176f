// Command slipway-hub serves Slipway's job queue: see docs/hub.md.
package main

import (
	"os"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/hubcmd"
)

func main() { os.Exit(command.Run(hubcmd.Root(), os.Args[1:])) }
