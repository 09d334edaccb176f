package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

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
	ctx, stop := stoppable()
	defer stop()
	if err := Run(ctx, config); err != nil {
		return fail(stderr, err)
	}
	return ExitDone
}

// stoppable ends its context on the first signal, and the process on the second.
func stoppable() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel(ErrStopped)
		case <-done:
			return
		}
		select {
		case <-signals:
			killDescendants(0)
			os.Exit(ExitFailed)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
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
