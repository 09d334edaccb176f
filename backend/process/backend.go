package process

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Watcher = (*Backend)(nil)
	_ backend.Sizer   = (*Backend)(nil)
	_ backend.Logger  = (*Backend)(nil)
)

// Backend runs runners as processes of this machine. It keeps nothing in memory
// that a second one on the same folder would need to do its work.
type Backend struct {
	config Config
	folder folder
	log    hclog.Logger
	hang   time.Duration // hangTime, or less in tests

	mu     sync.Mutex       // guards what follows
	pruned time.Time        // when the folder was last tidied
	known  map[string]state // what the last listing saw, by id
}
