package fleet

import (
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// believes says whether a runner without a record is taken in: one that was given to
// the host, and, while it holds a slot, one that the host may have. Who keeps the seals
// of runners that have ended can't tell of more than its cap.
func (f *Fleet) believes(h *host, state backend.State, ours bool) bool {
	return len(f.sealer) == 0 || ours && (!state.HoldsSlot() || h.held() < h.place.Cap())
}

// distrust notes a runner that is not the host's. An agent can tell of as many as it
// likes, as often as it likes: it is logged now and then.
func (f *Fleet) distrust(h *host, seen *wire.Runner) {
	if !h.foreign[seen.ID] && f.talks(h.ID) {
		f.say(hclog.Warn, "a host tells of a runner that it was not given", "host", h.name(), "runner", seen.ID)
	}
	h.foreign[seen.ID] = true
}
