package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ReserveFile is the name of the reserve in the data folder.
const ReserveFile = "reserve"

// GuardConfig says how much room there must be.
type GuardConfig struct {
	// Dir is the data folder. Required; it must exist.
	Dir string
	// Reserve is the size of the reserve file in bytes; default 32 MiB.
	Reserve int64
	// MinFree is how many bytes must be free; default 256 MiB.
	MinFree int64
	// MinFreePercent is how much of the disk must be free; default 5.
	MinFreePercent float64
	// Interval is how often the disk is looked at; default 1 s.
	Interval time.Duration
	// OnRoom is called by Run when there is room again after there was too little;
	// nil: nobody waits for it.
	OnRoom func(ctx context.Context) error
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c GuardConfig) withDefaults() GuardConfig {
	if c.Reserve == 0 {
		c.Reserve = 32 << 20
	}
	if c.MinFree == 0 {
		c.MinFree = 256 << 20
	}
	if c.MinFreePercent == 0 {
		c.MinFreePercent = 5
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.OnRoom == nil {
		c.OnRoom = func(context.Context) error { return nil }
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c GuardConfig) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("storage: Dir is empty")
	case c.Reserve < 0 || c.MinFree < 0 || c.Interval < 0:
		return errors.New("storage: Reserve, MinFree and Interval can't be negative")
	case c.MinFreePercent < 0 || c.MinFreePercent > 100:
		return fmt.Errorf("storage: MinFreePercent is %g: 0 to 100 is allowed", c.MinFreePercent)
	}
	return nil
}

// Room is what a look at the disk shows.
type Room struct {
	// Free is what may still be written, Total the size of the disk, in bytes.
	Free, Total int64
	// Full: there is too little for anything new.
	Full bool
	// Reserve says whether the reserve file is there.
	Reserve bool
}

// Guard watches one data folder. Its methods may be called from many goroutines.
type Guard struct {
	cfg GuardConfig

	mu     sync.Mutex
	looked time.Time
	room   Room
	told   bool // that it is full
	held   bool // it was full, and OnRoom was not called since
}

// NewGuard takes a first look, and makes the reserve where there is room for it.
func NewGuard(cfg GuardConfig) (*Guard, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	g := &Guard{cfg: cfg}
	if _, _, err := space(cfg.Dir); err != nil {
		return nil, fmt.Errorf("storage: look at %s: %w", cfg.Dir, err)
	}
	info, err := os.Stat(g.path())
	g.room.Reserve = err == nil && info.Size() >= cfg.Reserve
	g.mu.Lock()
	defer g.mu.Unlock()
	g.look()
	return g, nil
}

// Full says whether the disk is too full for anything new. It is cheap.
func (g *Guard) Full() bool { return g.Room().Full }

// Room is the last look at the disk, at most Interval old.
func (g *Guard) Room() Room {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.looked) >= g.cfg.Interval {
		g.look()
	}
	return g.room
}

// Run looks at the disk at each interval until ctx ends; then it returns nil.
// Without it the reserve comes and goes late.
func (g *Guard) Run(ctx context.Context) error {
	ticks := time.NewTicker(g.cfg.Interval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			if g.relieved() {
				g.goOn(ctx)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// relieved says whether there is room again, and something may wait for it.
func (g *Guard) relieved() bool {
	room := g.Room()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held && !room.Full
}

func (g *Guard) goOn(ctx context.Context) {
	if err := g.cfg.OnRoom(ctx); err != nil {
		g.cfg.Logger.Warn("go on after there is room again: will be tried again", "err", err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = g.room.Full
}

// Do does what must be stored even when the disk is full: when it fails for want
// of room the reserve is given up and it is done again. do may run twice.
func (g *Guard) Do(do func() error) error {
	err := do()
	if err == nil || !IsFull(err) {
		return err
	}
	if !g.release() {
		return err
	}
	return do()
}

// look is called with the lock held. What can't be looked at now stays as it was.
func (g *Guard) look() {
	g.looked = time.Now()
	free, total, err := space(g.cfg.Dir)
	if err != nil {
		g.cfg.Logger.Warn("look at disk", "err", err)
		return
	}
	g.room.Free, g.room.Total = free, total
	least := max(g.cfg.MinFree, int64(float64(total)*g.cfg.MinFreePercent/100))
	g.room.Full = free < least
	g.held = g.held || g.room.Full
	switch {
	case g.room.Reserve && free < min(g.cfg.Reserve/4, g.cfg.MinFree):
		g.giveUp()
	case !g.room.Reserve && free >= least+g.cfg.Reserve:
		g.make()
	}
	if g.room.Full != g.told {
		g.told = g.room.Full
		if g.told {
			g.cfg.Logger.Error("disk too full: no new jobs, no logs, no grants", "free", free, "needed", least)
		} else {
			g.cfg.Logger.Info("disk has room again", "free", free)
		}
	}
}

func (g *Guard) path() string { return filepath.Join(g.cfg.Dir, ReserveFile) }

// release gives the reserve up now, and says whether there was one.
func (g *Guard) release() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.room.Full, g.held = true, true
	had := g.room.Reserve
	if had {
		g.giveUp()
	}
	return had
}

func (g *Guard) giveUp() {
	// Truncating first frees the room even while somebody reads the file.
	err := errors.Join(os.Truncate(g.path(), 0), os.Remove(g.path()))
	g.room.Reserve = false
	g.cfg.Logger.Warn("reserve given up: the disk is full", "bytes", g.cfg.Reserve, "err", err)
}

func (g *Guard) make() {
	if err := allocate(g.path(), g.cfg.Reserve); err != nil {
		g.cfg.Logger.Warn("make reserve", "err", errors.Join(err, os.Remove(g.path())))
		return
	}
	g.room.Reserve = true
}
