package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/doctor"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func doctorCommand() *cobra.Command {
	var config doctor.Config
	c := &cobra.Command{
		Use: "doctor", Short: "Look at what a hub and its runners need on this machine", Args: command.Args(0, 0, ""),
		Long: `Look at the hub, the clock, the disk, the Docker engine, and the way from inside a
container to the hub. The exit code is 1 when a check fails; a warning is none.`,
	}
	output := command.AddOutput(c)
	c.Flags().StringVar(&config.Image, "image", "alpine:3", "image to look from inside of; it is not pulled")
	c.Flags().StringVar(&config.Dir, "dir", os.TempDir(), "folder whose disk is looked at where no hub tells its own")
	c.RunE = func(c *cobra.Command, _ []string) error {
		transport, err := remote.Transport(c)
		if err != nil {
			return err
		}
		config.Transport = transport
		config.URL, config.Token = remote.Address(), os.Getenv(remote.EnvToken)
		config.Asked = os.Getenv(remote.EnvURL) != "" || config.Token != ""
		if !output.JSON() {
			config.Found = func(f doctor.Finding) { err = errors.Join(err, doctor.Print(c.OutOrStdout(), f)) }
		}
		findings := doctor.Examine(c.Context(), config)
		if output.JSON() {
			err = command.WriteJSON(c.OutOrStdout(), findings)
		}
		for _, f := range findings {
			if err == nil && f.Result == doctor.Fail {
				err = command.Exit(command.ExitFailed)
			}
		}
		return err
	}
	return c
}
