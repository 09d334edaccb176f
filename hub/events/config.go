package events

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/queue"
)

// Config is what a Log is made from. Only Queue has no default.
type Config struct {
	// Queue has the events of jobs, and the store. Required.
	Queue *queue.Queue
	// Guard does what must be stored even when the disk is full, such as
	// storage.Guard's Do; nil: it is just done.
	Guard func(do func() error) error
	// Keep is how long events are kept; default 30 days.
	Keep time.Duration
	// Most is how many events are kept; default 200,000.
	Most int
	// KeepAudit is how long the audit log is kept; default 365 days, at least 30.
	KeepAudit time.Duration
	// MostAudit is how many entries of it are kept, though none is deleted that is
	// younger than 30 days; default 1,000,000.
	MostAudit int
	// MostRoutine is how many entries of jobs are kept, of whatever age; default
	// 100,000.
	MostRoutine int
	// RunnerPace is the least time between two looks of FollowRunners; default 2 s.
	RunnerPace time.Duration
	// Logger; nil discards.
	Logger hclog.Logger
}

// leastAudit is how long the database itself refuses to delete an entry.
const leastAudit = 30 * 24 * time.Hour

func (c Config) withDefaults() Config {
	if c.Guard == nil {
		c.Guard = func(do func() error) error { return do() }
	}
	c.Keep = cmp.Or(c.Keep, 30*24*time.Hour)
	c.Most = cmp.Or(c.Most, 200_000)
	c.KeepAudit = cmp.Or(c.KeepAudit, 365*24*time.Hour)
	c.MostAudit = cmp.Or(c.MostAudit, 1_000_000)
	c.MostRoutine = cmp.Or(c.MostRoutine, 100_000)
	c.RunnerPace = cmp.Or(c.RunnerPace, 2*time.Second)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Queue == nil:
		return errors.New("events: Queue is nil")
	case c.Keep < 0 || c.Most < 0 || c.MostAudit < 0 || c.MostRoutine < 0 || c.RunnerPace < 0:
		return errors.New("events: Keep, Most, MostAudit, MostRoutine and RunnerPace can't be negative")
	case c.KeepAudit < leastAudit:
		return fmt.Errorf("events: KeepAudit is %s: at least %s is needed", c.KeepAudit, leastAudit)
	}
	return nil
}
