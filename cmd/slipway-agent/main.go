// Command slipway-agent serves a host's engine to a Slipway hub: see docs/agent.md.
package main

import (
	"os"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/internal/agentd"
)

func main() {
	process.Main() // does not return in the supervisor of a runner
	os.Exit(agentd.Main(os.Args[1:]))
}
