package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/signals"
	"github.com/slipway-ci/slipway/tokens"
)

// Exit codes of Main.
const (
	ExitDone       = 0 // one job was run and reported, or there was none
	ExitFailed     = 1
	ExitUsage      = 2
	ExitNotSlipway = 3
)

// Main is the program: it reads the environment env, runs one job and returns
// the exit code. It takes no arguments. Call it early in main and exit with what
// it returns: it takes over the process, and may execute the program again, with
// os.Args. What it has to say goes to stderr.
func Main(args, env []string, stderr io.Writer) int {
	return program(args, env, stderr, func(*Config) {})
}

func program(args, env []string, stderr io.Writer, adjust func(*Config)) int {
	if len(args) > 0 {
		return fail(stderr, fmt.Errorf("%w: no arguments are taken, the settings are environment variables", ErrUsage))
	}
	env, err := seal(env)
	if err != nil {
		return fail(stderr, err)
	}
	config, err := configFrom(env)
	if err != nil {
		return fail(stderr, err)
	}
	if err := adopt(); err != nil {
		return fail(stderr, fmt.Errorf("become subreaper: %w", err))
	}
	config.Logger = hclog.New(&hclog.LoggerOptions{Name: "runner", Output: stderr, Level: hclog.Info})
	adjust(&config)
	ctx, stop := stoppable(stderr)
	defer stop()
	if err := Run(ctx, config); err != nil {
		return fail(stderr, err)
	}
	return ExitDone
}

// stoppable ends its context on the first signal, and the process on the second,
// with all that the job has started.
func stoppable(stderr io.Writer) (context.Context, func()) {
	interruptible, restore := signals.Interruptible(stderr)
	signals.Leaving(interruptible, func() string {
		killDescendants(0)
		return ""
	})
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(interruptible))
	context.AfterFunc(interruptible, func() { cancel(ErrStopped) })
	return ctx, restore
}

// fail prints one line.
func fail(stderr io.Writer, err error) int {
	line := strings.Join(strings.Fields(tokens.Redact(err.Error())), " ")
	_, _ = fmt.Fprintln(stderr, "slipway-runner:", line)
	switch {
	case errors.Is(err, ErrUsage):
		return ExitUsage
	case errors.Is(err, ErrNotSlipway):
		return ExitNotSlipway
	default:
		return ExitFailed
	}
}
