package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

func run(t *testing.T, do func(*cobra.Command, []string) error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := &cobra.Command{Use: "prog", RunE: do, Args: Args(0, 1, "a thing")}
	c.Flags().Int("some-number", 1, "")
	c.SetOut(&out)
	c.SetErr(&errs)
	code = Run(c, args)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	secret := tokens.New(tokens.Admin).Reveal()
	for _, c := range []struct {
		err  error
		code int
		line string
	}{
		{nil, 0, ""},
		{errors.New("it broke"), 1, "prog: it broke\n"},
		{errors.Join(errors.New("it broke"), errors.New("so did that")), 1, "prog: it broke; so did that\n"},
		{fmt.Errorf("wrapped: %w", Exit(7)), 7, ""},
		{fmt.Errorf("token %s is bad", secret), 1, "prog: token sf_… is bad\n"},
	} {
		code, _, stderr := run(t, func(*cobra.Command, []string) error { return c.err })
		require.Equal(t, c.code, code)
		require.Equal(t, c.line, stderr)
	}
	code, _, stderr := run(t, func(c *cobra.Command, _ []string) error { return Usage(c, "%w", errors.New("wrong")) })
	require.Equal(t, ExitUsage, code)
	require.Equal(t, "prog: wrong (see prog --help)\n", stderr)
	for _, args := range [][]string{{"--nope"}, {"--some-number", "x"}, {"a", "b"}} {
		code, _, stderr = run(t, func(*cobra.Command, []string) error { return nil }, args...)
		require.Equal(t, ExitUsage, code, "%s", stderr)
	}
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	number := func(args ...string) (int, int, string) {
		var got int
		code, _, stderr := run(t, func(c *cobra.Command, _ []string) error {
			if err := FromEnv(c, "PROG_"); err != nil {
				return err
			}
			var err error
			got, err = c.Flags().GetInt("some-number")
			return err
		}, args...)
		return code, got, stderr
	}
	_, got, _ := number()
	require.Equal(t, 1, got)
	t.Setenv("PROG_SOME_NUMBER", "5")
	_, got, _ = number()
	require.Equal(t, 5, got)
	_, got, _ = number("--some-number", "7")
	require.Equal(t, 7, got, "a flag wins")
	t.Setenv("PROG_SOME_NUMBER", "many")
	code, _, stderr := number()
	require.Equal(t, ExitUsage, code)
	require.Contains(t, stderr, "PROG_SOME_NUMBER")
	t.Setenv("PROG_SOME_NUMBER", "")
	_, got, _ = number()
	require.Equal(t, 1, got, "empty is not set")
}

func TestASignalEndsTheContext(t *testing.T) {
	code, _, stderr := run(t, func(c *cobra.Command, _ []string) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-c.Context().Done()
		return Interrupt(c.Context())
	})
	require.Equal(t, ExitFailed, code)
	require.Equal(t, "prog: interrupted by signal terminated\n", stderr)
	require.NoError(t, Interrupt(context.Background()))
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Table(&out, []string{"ID", "NAME"}, [][]string{{"1", "a\nb\x1b[31m"}, {"long one", ""}}))
	require.Equal(t, "ID        NAME\n1         a b[31m\nlong one  -\n", out.String())
}
