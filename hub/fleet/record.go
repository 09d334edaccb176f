package fleet

import (
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/fleet/records"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
)

// record is what is known of one runner. Once a launch was sent, its id belongs
// to its host until it is known to be gone.
type record struct {
	id       string
	host     *host
	labels   map[string]string // nobody changes it
	template string            // of the labels, as plane is
	plane    string
	share    placement.Share

	created time.Time // when it was launched; zero: nobody knows

	calls     int          // launches that are not answered yet
	asked     time.Time    // when the first of them was begun
	uncertain bool         // a launch may have made it, or may yet
	seen      *wire.Runner // how its agent showed it last; nobody changes it
	stored    bool         // from the store, and its host has not told of it since
	absent    time.Time    // since when a full list has shown that no launch made it; zero: none
	doomed    bool         // to be removed as soon as its host is there
	removal   *call        // the removal under way
	dropped   bool         // there is no such record any more
}

// newRecord makes the record of a runner with those labels, which nobody changes
// any more.
func newRecord(id string, h *host, labels map[string]string, s placement.Share) *record {
	r := &record{id: id, host: h, share: s}
	r.label(labels)
	return r
}

func (r *record) label(labels map[string]string) {
	r.labels, r.template, r.plane = labels, labels[provisioner.LabelTemplate], labels[LabelPlane]
}

// touch has its host counted anew. It follows every change of what holds looks at,
// and of doomed.
func (r *record) touch() { r.host.counted = false }

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

// kept is the record as it is stored.
func (r *record) kept() Record {
	kept := Record{
		Runner: r.id, Host: r.host.ID, Labels: r.labels, Doomed: r.doomed, CPU: r.share.CPU, Memory: r.share.Memory, GPUs: r.share.GPUs, Created: r.created,
	}
	if s := r.seen; s != nil {
		if !s.Created.IsZero() {
			kept.Created = s.Created
		}
		kept.End = records.EndOf(s)
	}
	return kept
}

// restored is a record as it was stored. One that had ended was seen so.
func restored(kept Record, h *host) *record {
	r := newRecord(kept.Runner, h, maps.Clone(kept.Labels), placement.Share{CPU: kept.CPU, Memory: kept.Memory, GPUs: slices.Clone(kept.GPUs)})
	r.doomed, r.stored, r.created, r.seen = kept.Doomed, true, kept.Created, kept.Seen()
	return r
}

// trace is what is remembered of a runner that is gone: whose it was.
type trace struct {
	host            *host
	template, plane string
	asked           time.Time
}

// trace finds whose a runner is, or was until a while ago. The lock is held.
func (f *Fleet) trace(id string) (t trace, ok bool) {
	if r := f.runners[id]; r != nil {
		return r.trace(), true
	}
	return f.gone.Of(id, time.Now())
}

func (r *record) trace() trace { return trace{r.host, r.template, r.plane, r.asked} }

// absentFor is how long the id of a launch that made nothing still belongs to
// the host it was sent to.
const absentFor = 10 * time.Minute

// forgotten says whether it is of no use any more.
func (r *record) forgotten(now time.Time) bool {
	return !r.absent.IsZero() && r.calls == 0 && now.Sub(r.absent) > absentFor
}
