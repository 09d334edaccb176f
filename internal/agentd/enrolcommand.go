package agentd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/tokens"
)

// EnrolTokenEnv holds the one-time token of an enrolment.
const EnrolTokenEnv = "SLIPWAY_ENROLMENT_TOKEN"

func enrolCommand() *cobra.Command {
	s := &settings{}
	e := Enrolment{}
	var tokenFile, keyFile string
	c := &cobra.Command{
		Use: "enrol --hub URL", Aliases: []string{"enroll"}, Short: "Make this machine a host of a hub", Args: command.Args(0, 0, ""),
		Long: `Make this machine a host of a hub, with the one-time token of "slipway hosts add"
or "slipway hosts reenrol". The token comes from --token-file (- is standard
input) or SLIPWAY_ENROLMENT_TOKEN, never as an argument. The agent makes its own
credential and sends nothing but its digest. An agent that runs with this data
folder takes the new enrolment over by itself, within seconds.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := s.read(c); err != nil {
				return err
			}
			token, err := enrolmentToken(c, tokenFile)
			if err != nil {
				return err
			}
			if keyFile != "" {
				if e.Key, err = os.ReadFile(keyFile); err != nil {
					return fmt.Errorf("--update-key-file: %w", err)
				}
			}
			if s.config.Hub == "" {
				return command.Usage(c, "--hub is missing: the URL of the hub")
			}
			e.Data, e.Hub, e.InsecureHTTP, e.CAFile, e.Logger, e.Token = s.config.Data, s.config.Hub, s.config.InsecureHTTP, s.config.CAFile, s.config.Logger, token
			who, err := Enrol(c.Context(), e)
			if err != nil {
				return err
			}
			return enrolled(c.OutOrStdout(), s.config.Data, who)
		},
	}
	s.common(c)
	s.remote(c, "URL of the hub")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the enrolment token; -: standard input")
	c.Flags().StringVar(&keyFile, "update-key-file", "", "file with the key that updates must be signed with (default: what the hub serves, once)")
	c.Flags().DurationVar(&e.Patience, "patience", maxPatience, "how long a hub that can't be reached is tried")
	s.logs(c)
	return c
}

func enrolled(out io.Writer, data string, who identity.Identity) error {
	_, err := fmt.Fprintf(out, "this machine is host %s (%s) of %s; its agent is %s, in %s\n", who.Name, who.Host, who.Hub, who.Agent, data)
	return err
}

// enrolmentToken reads the one-time token. No error tells any of it.
func enrolmentToken(c *cobra.Command, file string) (tokens.Token, error) {
	var text string
	var err error
	switch {
	case file == "-":
		text, err = readSecret(c.InOrStdin(), "standard input")
	case file != "":
		text, err = secretFile(file, "--token-file")
	default:
		text, err = secret(EnrolTokenEnv)
	}
	if err != nil {
		return tokens.Token{}, err
	}
	if text == "" {
		return tokens.Token{}, command.Usage(c, "the enrolment token is missing: --token-file, or %s", EnrolTokenEnv)
	}
	token, err := tokens.Parse(text)
	if err != nil || token.Kind() != tokens.Enrolment {
		return tokens.Token{}, command.Usage(c, "what was given is no enrolment token: one that begins with sf_het_ is needed")
	}
	return token, nil
}

func secretFile(path, what string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	defer file.Close()
	return readSecret(file, what)
}

// maxSecret is more than any token has.
const maxSecret = 4096

func readSecret(r io.Reader, what string) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSecret))
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return "", errors.New(what + " is empty")
	}
	return string(bytes.TrimSpace(data)), nil
}
