package access

import (
	"sync"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// Registry is all tokens. Its methods may be called from many goroutines.
type Registry struct {
	ledger *ledger.Ledger

	mu   sync.Mutex
	seen map[string]time.Time // when a provisioner was last marked as seen
}

// New makes the registry of a ledger.
func New(l *ledger.Ledger) *Registry {
	return &Registry{ledger: l, seen: map[string]time.Time{}}
}
