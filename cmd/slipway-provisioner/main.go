// Command slipway-provisioner turns waiting Shipfox jobs into one-job runners on
// this machine.
package main

import (
	"os"

	"github.com/slipway-ci/slipway/internal/standalone"
)

func main() { os.Exit(standalone.Main()) }
