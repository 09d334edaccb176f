package process

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config is what New needs.
type Config struct {
	// Owner is whose runners these are; required. Owners that share Dir never
	// see or touch each other's.
	Owner string
	// Dir is where runners and what is known of them live; required, made if
	// absent. It is on a local file system: locks over a network are not relied on.
	Dir string
	// Command is what runs when Spec names no command: the program, then its
	// arguments. Default Runner.
	Command []string
	// Runner is the one-job runner program with its arguments, for specs with
	// InjectRunner. Without it such specs are invalid.
	Runner []string
	// RunnerEnv are variables that Runner and Command get besides their spec's, which
	// win.
	RunnerEnv map[string]string
	// InheritEnv names the variables that runners get from this process's
	// environment, where they are set; nil means PATH. They get no other.
	InheritEnv []string
	// MaxRunners is how many runners may live in Dir, those of all owners
	// counted; default 0, no bound. Then there is no Capacity to tell.
	MaxRunners int
	// StopGrace is how long a runner has between the request to end (SIGTERM)
	// and being killed; default 5 s, negative: none. It is fixed at launch.
	StopGrace time.Duration
	// LogBytes bounds what is kept of one runner's output: the first quarter,
	// and what came last; default 4 MiB, at least 4 KiB.
	LogBytes int64
	// Logger is told what List and Remove had to mend; nil discards.
	Logger hclog.Logger
}

const (
	defaultStopGrace = 5 * time.Second
	defaultLogBytes  = 4 << 20
	minLogBytes      = 4 << 10
)

func (c Config) withDefaults() Config {
	if c.InheritEnv == nil {
		c.InheritEnv = []string{"PATH"}
	}
	if len(c.Command) == 0 {
		c.Command = c.Runner
	}
	if c.StopGrace == 0 {
		c.StopGrace = defaultStopGrace
	}
	c.StopGrace = max(c.StopGrace, 0)
	if c.LogBytes == 0 {
		c.LogBytes = defaultLogBytes
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Owner == "":
		return errors.New("process: Config.Owner is empty")
	case c.Dir == "":
		return errors.New("process: Config.Dir is empty")
	case c.MaxRunners < 0:
		return fmt.Errorf("process: Config.MaxRunners is %d: 0 or more is allowed", c.MaxRunners)
	case c.LogBytes < minLogBytes:
		return fmt.Errorf("process: Config.LogBytes is %d: %d or more is allowed", c.LogBytes, minLogBytes)
	}
	return nil
}

// New opens the runners of an owner. Nothing runs in the background: there is
// nothing to close. The program must have called Main, see there.
func New(config Config) (*Backend, error) {
	c := config.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if !mainCalled.Load() {
		return nil, errors.New("process: this program does not call process.Main first thing in main, so it can't supervise runners")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	c.Dir = dir
	f := newFolder(dir, c.Owner)
	if err := f.make(); err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	return &Backend{config: c, folder: f, log: c.Logger, hang: hangTime}, nil
}
