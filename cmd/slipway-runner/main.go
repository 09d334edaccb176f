// Command slipway-runner runs one job of a Slipway hub and ends. It is small and
// static, and takes its settings from the environment: see docs/runner.md.
package main

import (
	"fmt"
	"os"

	"github.com/slipway-ci/slipway/internal/runner"
	"github.com/slipway-ci/slipway/internal/version"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("slipway-runner", version.String())
		return
	}
	os.Exit(runner.Main(os.Args[1:], os.Environ(), os.Stderr))
}
