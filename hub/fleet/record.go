package fleet

import (
	"maps"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// record is what is known of one runner. Once a launch was sent, its id belongs
// to its host until it is known to be gone.
type record struct {
	id     string
	host   *host
	labels map[string]string

	calls     int          // launches that are not answered yet
	asked     time.Time    // when the first of them was begun
	uncertain bool         // a launch may have made it, or may yet
	seen      *wire.Runner // how its agent showed it last
	stored    bool         // from the store, and its host has not told of it since
	absent    time.Time    // since when a full list has shown that no launch made it; zero: none
	doomed    bool         // to be removed as soon as its host is there
	removal   *call        // the removal under way
}

// known says whether it is told in listings. A launch that is uncertain is its
// caller's to remember, and is not told before it was seen.
func (r *record) known() bool { return r.seen != nil || r.stored }

// holds says whether it takes up room on its host.
func (r *record) holds() bool {
	switch {
	case r.calls > 0 || r.uncertain:
		return true
	case r.seen != nil:
		return r.seen.State.HoldsSlot()
	default:
		return r.stored
	}
}

// tell is how a listing shows it. The caller knows whether its host can be
// observed, and whether it is lost.
func (r *record) tell(observed, lost bool) backend.Runner {
	seen := wire.Runner{ID: r.id, Labels: r.labels, State: backend.Unknown}
	if r.seen != nil {
		seen = *r.seen
	}
	told := seen.Backend(r.host.name())
	told.Labels = maps.Clone(told.Labels)
	switch {
	case observed:
		if told.ExitCode != nil {
			code := *told.ExitCode
			told.ExitCode = &code
		}
	case lost && !told.State.Ended():
		told.State, told.Error, told.Finished = backend.Failed, HostLost, time.Time{}
	case !lost:
		told = backend.Runner{ID: told.ID, Labels: told.Labels, Host: told.Host, State: backend.Unknown, Created: told.Created}
	}
	return told
}

// absentFor is how long the id of a launch that made nothing still belongs to
// the host it was sent to.
const absentFor = 10 * time.Minute

// forgotten says whether it is of no use any more.
func (r *record) forgotten(now time.Time) bool {
	return !r.absent.IsZero() && r.calls == 0 && now.Sub(r.absent) > absentFor
}
