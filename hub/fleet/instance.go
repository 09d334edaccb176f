package fleet

import (
	"slices"
	"time"
)

const (
	// mostInstances is how many instances of a host's agent are remembered.
	mostInstances = 16
	// keptFor is how long a host that is away is kept for the instance that it had, when
	// one comes that lives beside that.
	keptFor = 2 * time.Minute
	// twinShown is how long it is shown that one was turned away: it comes again in less.
	twinShown = 3 * time.Minute
)

// twins is what is wrong with a host that has two agents at once, and what to do.
const twins = "two agents live under its identity, as after a copy of the machine or of the agent's data folder: " +
	"stop the one that is turned away, whose log says so, or enrol its machine as a host of its own (slipway hosts add)"

// instances are those of a host's agent: one for each start of it. The fleet's lock
// guards them.
//
// An instance that speaks before and after another one did lives beside it. The other
// one must have connected after the first word, and the second word be said on a
// connection that was opened after the other one spoke: a hello may lie on its way while
// its agent ends and another is started.
type instances struct {
	known  []instance // the last that were let in
	now    string     // whose the host is; empty: of one that does not tell
	turned time.Time  // when a twin was last turned away
}

type instance struct {
	id    string
	spoke time.Time // first
	over  time.Time // when one spoke that had connected after that; zero: none did
}

// twin says whether an instance that speaks on a connection which was opened then
// lives beside another one.
func (i *instances) twin(id string, opened time.Time) bool {
	at := i.find(id)
	return at >= 0 && !i.known[at].over.IsZero() && opened.After(i.known[at].over)
}

// letIn makes the host that instance's. It may be a twin that came when the other was
// gone: then it begins anew.
func (i *instances) letIn(id string, opened, now time.Time) {
	if id != i.now {
		i.turned = time.Time{}
	}
	if i.now = id; id == "" {
		return
	}
	for at := range i.known {
		other := &i.known[at]
		if other.id != id && other.over.IsZero() && opened.After(other.spoke) {
			other.over = now
		}
	}
	at := i.find(id)
	if at >= 0 && i.known[at].over.IsZero() {
		return
	}
	if at >= 0 {
		i.known = slices.Delete(i.known, at, at+1)
	}
	if len(i.known) >= mostInstances {
		i.known = slices.Delete(i.known, 0, 1)
	}
	i.known = append(i.known, instance{id: id, spoke: now})
}

func (i *instances) find(id string) int {
	return slices.IndexFunc(i.known, func(k instance) bool { return k.id == id })
}

// shown says whether a twin was turned away of late.
func (i *instances) shown(now time.Time) bool {
	return !i.turned.IsZero() && now.Sub(i.turned) < twinShown
}

// turnsAway says whether an instance lives beside the one that has the host, and is to
// be turned away for that. first: the host had no such problem.
func (h *host) turnsAway(id string, opened, now time.Time) (away, first bool) {
	i := &h.instances
	kept := h.session != nil || now.Sub(h.since) < keptFor
	if !kept || !i.twin(id, opened) {
		return false, false
	}
	first = !i.shown(now)
	i.turned = now
	return true, first
}
