// Package command is what the programs have in common: exit codes, errors of one
// line, settings from the environment, and signals.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-ci/slipway/internal/signals"
	"github.com/slipway-ci/slipway/tokens"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Run runs root with args until it is done or a signal ends it, prints its error
// as one line and returns the exit code. The first interrupt ends the command's
// context, the second the process.
func Run(root *cobra.Command, args []string) int {
	ctx, stop := signals.Interruptible(root.ErrOrStderr(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return Report(root.Name(), root.ErrOrStderr(), Execute(ctx, root, args))
}

// Execute runs root with args and leaves it to the caller to print the error.
func Execute(ctx context.Context, root *cobra.Command, args []string) error {
	root.SetArgs(args)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return Usage(c, "%w", flagError(err)) })
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		if c.Name() == completionName {
			onlyHolds(c)
		}
	}
	return root.ExecuteContext(ctx)
}

const completionName = "completion"

// flagError is a flag's error in words of people, not of package strconv.
func flagError(err error) error {
	var wrong *pflag.InvalidValueError
	if !errors.As(err, &wrong) {
		return err
	}
	needed := map[string]string{
		"int": "a whole number", "int64": "a whole number", "float64": "a number", "duration": "a time such as 90s, 30m or 24h", "bool": "true or false",
	}[wrong.GetFlag().Value.Type()]
	if needed == "" {
		return err
	}
	return fmt.Errorf("--%s is %q: %s is needed", wrong.GetFlag().Name, wrong.GetValue(), needed)
}

// Report prints err, if it is one, and returns the exit code that it means.
func Report(program string, stderr io.Writer, err error) int {
	var silent *exitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &silent):
		return silent.code
	}
	line := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") // joined errors are lines
	_, _ = fmt.Fprintln(stderr, program+":", Printable(tokens.Redact(line)))
	if errors.Is(err, errUsage) {
		return ExitUsage
	}
	return ExitFailed
}

// exitError ends the program with a code when all has been said.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// Exit is an error that ends the program with code and prints nothing.
func Exit(code int) error { return &exitError{code} }

var errUsage = errors.New("usage")

type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string        { return e.err.Error() + e.hint }
func (e *usageError) Unwrap() error        { return e.err }
func (e *usageError) Is(target error) bool { return target == errUsage }

// Usage is the error of a wrong call of c: exit code 2, and a pointer to its help.
func Usage(c *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), fmt.Sprintf(" (see %s --help)", c.CommandPath())}
}

// Invalid is the error of a call whose arguments or files are wrong in a way that
// err says in full: exit code 2 too.
func Invalid(err error) error { return &usageError{err, ""} }

// Args checks how many arguments there are: most below 0 means any number. What
// tells the usage what they are.
func Args(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return Usage(c, "%s is missing", what)
		case most >= 0 && len(args) > most:
			return Usage(c, "%q is one argument too many", args[most])
		}
		return nil
	}
}

// Group is a command that only holds others.
func Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	onlyHolds(c)
	c.AddCommand(commands...)
	return c
}

// onlyHolds makes it a wrong call to name c alone, or what it does not hold.
func onlyHolds(c *cobra.Command) {
	c.Args, c.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return Usage(c, "a command is missing: %s", strings.Join(names(c), ", "))
		}
		hint := "; there are " + strings.Join(names(c), ", ")
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("; did you mean %q?", near[0])
		}
		return Usage(c, "unknown command %q%s", args[0], hint)
	}
}

func names(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			names = append(names, sub.Name())
		}
	}
	return names
}

// FromEnv sets the flags of c that were not given from variables: --some-flag
// from <prefix>SOME_FLAG. An empty variable counts as not set.
func FromEnv(c *cobra.Command, prefix string) error {
	var err error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := EnvName(prefix, f.Name)
		value := os.Getenv(name)
		if f.Changed || value == "" || err != nil || f.Name == "help" {
			return
		}
		if bad := c.Flags().Set(f.Name, value); bad != nil {
			err = Usage(c, "%s: %w", name, bad)
		}
	})
	return err
}

// EnvName is the variable of a flag.
func EnvName(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Interrupt returns the *signals.Interrupted that ended ctx, or nil.
func Interrupt(ctx context.Context) error {
	var by *signals.Interrupted
	if errors.As(context.Cause(ctx), &by) {
		return by
	}
	return nil
}
