package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
)

// KeeperConfig says what is kept for how long.
type KeeperConfig struct {
	// Queue and Logs are what is kept. Required.
	Queue *queue.Queue
	Logs  *logs.Store // see Queue
	// Jobs is how long finished jobs are kept, their logs with them; default 14 days.
	Jobs time.Duration
	// Bytes is how much jobs and logs may take up; the oldest finished ones go
	// first; default 10 GiB.
	Bytes int64
	// Events is how long the events of finished jobs are kept, where the jobs
	// are kept for longer; default 30 days.
	Events time.Duration
	// Batch is how much is deleted in one write; default 100 jobs or 1000 events.
	Batch int
	// Interval is how often to look; default 5 min.
	Interval time.Duration
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c KeeperConfig) withDefaults() KeeperConfig {
	if c.Jobs == 0 {
		c.Jobs = 14 * 24 * time.Hour
	}
	if c.Bytes == 0 {
		c.Bytes = 10 << 30
	}
	if c.Events == 0 {
		c.Events = 30 * 24 * time.Hour
	}
	if c.Batch == 0 {
		c.Batch = 100
	}
	if c.Interval == 0 {
		c.Interval = 5 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c KeeperConfig) validate() error {
	switch {
	case c.Queue == nil || c.Logs == nil:
		return errors.New("storage: Queue or Logs is nil")
	case c.Jobs < 0 || c.Events < 0 || c.Interval < 0:
		return errors.New("storage: Jobs, Events and Interval can't be negative")
	case c.Bytes < 0 || c.Batch < 0:
		return errors.New("storage: Bytes and Batch can't be negative")
	}
	return nil
}

// Keeper holds the hub to its retention.
type Keeper struct{ cfg KeeperConfig }

// NewKeeper makes a Keeper, and removes logs whose jobs are gone. Call it before
// anything is appended to a log.
func NewKeeper(ctx context.Context, cfg KeeperConfig) (*Keeper, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	err := cfg.Logs.Scan(func(job string) (bool, error) {
		_, err := cfg.Queue.Job(ctx, job)
		if errors.Is(err, queue.ErrNotFound) {
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("storage: count logs: %w", err)
	}
	return &Keeper{cfg: cfg}, nil
}

// Run does a Pass at each interval until ctx ends; then it returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	ticks := time.NewTicker(k.cfg.Interval)
	defer ticks.Stop()
	for {
		if err := k.Pass(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Logger.Error("retention pass failed", "err", err)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Pass deletes what is too old, then the oldest while there is too much.
func (k *Keeper) Pass(ctx context.Context) error {
	now := time.Now()
	for {
		n, err := k.prune(ctx, now.Add(-k.cfg.Jobs), k.cfg.Batch)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	for {
		n, err := k.cfg.Queue.PruneEvents(ctx, now.Add(-k.cfg.Events), 10*k.cfg.Batch)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	return k.shrink(ctx)
}

// shrink deletes the oldest finished jobs until the rest is within Bytes.
func (k *Keeper) shrink(ctx context.Context) error {
	for {
		rows, err := k.cfg.Queue.Bytes(ctx)
		if err != nil {
			return err
		}
		if rows+k.cfg.Logs.Total() <= k.cfg.Bytes {
			return nil
		}
		n, err := k.prune(ctx, time.Now(), max(1, k.cfg.Batch/10))
		if err != nil || n == 0 {
			return err
		}
	}
}

// prune deletes one batch of jobs that finished before the time. A crash between
// the two steps leaves logs that the next NewKeeper removes.
func (k *Keeper) prune(ctx context.Context, before time.Time, batch int) (int, error) {
	ids, err := k.cfg.Queue.PruneJobs(ctx, before, batch)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, id := range ids {
		_, err := k.cfg.Logs.Remove(id)
		errs = append(errs, err)
	}
	if len(ids) > 0 {
		k.cfg.Logger.Info("jobs deleted by retention", "jobs", len(ids))
	}
	return len(ids), errors.Join(errs...)
}
