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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	ctx, stop := interruptible(root.ErrOrStderr())
	defer stop()
	root.SetArgs(args)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return Usage(c, "%w", err) })
	return Report(root.Name(), root.ErrOrStderr(), root.ExecuteContext(ctx))
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
	_, _ = fmt.Fprintln(stderr, program+":", tokens.Redact(line))
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
	c := &cobra.Command{
		Use: use, Short: short,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Usage(c, "a command is missing: %s", strings.Join(names(c), ", "))
			}
			hint := "; there are " + strings.Join(names(c), ", ")
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %q?", near[0])
			}
			return Usage(c, "unknown command %q%s", args[0], hint)
		},
		Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2,
	}
	c.AddCommand(commands...)
	return c
}

func names(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
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

// interruptible is a context that the first signal ends; the second ends the
// process at once, with 128 + its number, as a shell expects.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	received := make(chan os.Signal, 2)
	notify(received)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-received:
				if n > 0 {
					_, _ = fmt.Fprintln(stderr, "interrupted twice: leaving at once")
					os.Exit(128 + number(s))
				}
				cancel(&Interrupted{Signal: s})
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		unnotify(received)
		close(done)
		cancel(nil)
	}
}

// Interrupted is the cause of a context that a signal ended.
type Interrupted struct{ Signal os.Signal }

// Error names the signal.
func (e *Interrupted) Error() string { return "interrupted by signal " + e.Signal.String() }

// Interrupt returns the *Interrupted that ended ctx, or nil.
func Interrupt(ctx context.Context) error {
	var by *Interrupted
	if errors.As(context.Cause(ctx), &by) {
		return by
	}
	return nil
}
