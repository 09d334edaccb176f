package lease

import (
	"errors"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/vault"
)

// Errors of runners.
var (
	// ErrRunnerEnded: the runner has ended, as its provisioner reported.
	ErrRunnerEnded = errors.New("queue: runner ended")
	// ErrSessionExhausted: the session may claim no more jobs.
	ErrSessionExhausted = errors.New("queue: session exhausted")
	// ErrLeaseEnded: the lease is over; nothing was stored.
	ErrLeaseEnded = ledger.ErrLeaseEnded
	// ErrLeaseJob: the lease is for another job.
	ErrLeaseJob = errors.New("queue: lease of another job")
)

// Config is what leases need. All fields are needed.
type Config struct {
	// Ledger is where all of it is.
	Ledger *ledger.Ledger
	// Vault opens the environments of jobs, and gives the key that signs sessions.
	Vault *vault.Vault
	// Logger of leases that ran out.
	Logger hclog.Logger
}

// Leases serves runners. Its methods may be called from many goroutines.
type Leases struct {
	cfg    Config
	ledger *ledger.Ledger
	signer signer
}

// New makes the leases of a ledger.
func New(cfg Config) *Leases {
	return &Leases{cfg: cfg, ledger: cfg.Ledger, signer: signer{key: cfg.Vault.Derive("runner sessions")}}
}
