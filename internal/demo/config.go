package demo

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
)

// RunnerArgument makes the program that calls Run a one-job runner: its main
// looks for it before anything else. It is one as well when it is started under
// the name program.RunnerName.
const RunnerArgument = "one-job-runner"

// Values of Config.Backend.
const (
	BackendAuto    = "auto"
	BackendProcess = "process"
	BackendDocker  = "docker"
)

// Config says what to show. The zero value of each field but Out is its default.
type Config struct {
	// Jobs is how many; default 5.
	Jobs int
	// Backend is auto (the default), process or docker.
	Backend string
	// Image is what runners on Docker are made from; default alpine:3.
	Image string
	// Timeout bounds the whole of it, clean-up apart; default 5 min.
	Timeout time.Duration
	// Out is where it is shown. Required.
	Out io.Writer
	// Screen is Out where that is a terminal that understands cursor movements:
	// then progress is live. Nil: plain lines.
	Screen Screen
	// Logger gets what the parts log; nil discards.
	Logger hclog.Logger

	// owned is told the owner of the runners; for tests.
	owned func(owner string)
}

// Screen tells the size of a terminal.
type Screen interface {
	// Size is in characters.
	Size() (width, height int)
}

// ErrUsage: a field of Config is wrong.
var ErrUsage = errors.New("demo: usage")

const maxJobs = 1000

func (c Config) withDefaults() Config {
	if c.Jobs == 0 {
		c.Jobs = 5
	}
	if c.Backend == "" {
		c.Backend = BackendAuto
	}
	if c.Image == "" {
		c.Image = "alpine:3"
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.owned == nil {
		c.owned = func(string) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Out == nil:
		return errors.New("demo: Out is nil")
	case c.Jobs < 1 || c.Jobs > maxJobs:
		return fmt.Errorf("%w: %d jobs: 1 to %d are allowed", ErrUsage, c.Jobs, maxJobs)
	case c.Backend != BackendAuto && c.Backend != BackendProcess && c.Backend != BackendDocker:
		return fmt.Errorf("%w: backend %q: auto, process or docker is allowed", ErrUsage, c.Backend)
	case c.Timeout < 0:
		return fmt.Errorf("%w: timeout %s: it can't be negative", ErrUsage, c.Timeout)
	}
	return nil
}
