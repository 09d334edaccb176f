// Package jobs is the queue as those see it who have something to run: they submit a
// job, look at it, and cancel it.
//
// A job that was accepted is on disk, and stays until it has come to an end. Every
// input is bounded; what a job's environment holds is sealed at rest, and told to the
// job's runner alone.
package jobs

import (
	"errors"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/vault"
)

// Errors of Submit.
var (
	// ErrStorageFull: the disk is too full for new jobs.
	ErrStorageFull = errors.New("queue: storage full")
	// ErrKeyReused: another job was submitted with this key.
	ErrKeyReused = errors.New("queue: key of another job")
)

// Config is what jobs need. All fields are needed.
type Config struct {
	// Ledger is where all of it is.
	Ledger *ledger.Ledger
	// Vault seals environments.
	Vault *vault.Vault
	// Timeout is for jobs that name none.
	Timeout time.Duration
}

// Jobs is all jobs. Its methods may be called from many goroutines.
type Jobs struct {
	cfg    Config
	ledger *ledger.Ledger
}

// New makes the jobs of a ledger.
func New(cfg Config) *Jobs { return &Jobs{cfg: cfg, ledger: cfg.Ledger} }
