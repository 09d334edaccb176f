package dispatch

import (
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// Config is what a dispatcher needs. All fields are needed.
type Config struct {
	// Ledger is where all of it is.
	Ledger *ledger.Ledger
	// ReservationTTL is for polls that ask for none.
	ReservationTTL time.Duration
	// MaxPollWait bounds one long poll.
	MaxPollWait time.Duration
	// Logger of what could not be given back.
	Logger hclog.Logger
}

// Dispatcher serves provisioners. Its methods may be called from many goroutines.
type Dispatcher struct {
	cfg    Config
	ledger *ledger.Ledger

	mu   sync.Mutex
	told map[string]time.Time // when a terminate intent last went out, by runner
}

// New makes the dispatcher of a ledger.
func New(cfg Config) *Dispatcher {
	return &Dispatcher{cfg: cfg, ledger: cfg.Ledger, told: map[string]time.Time{}}
}

// Forget drops what is in memory of before a time.
func (d *Dispatcher) Forget(before time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.told, func(_ string, at time.Time) bool { return at.Before(before) })
}
