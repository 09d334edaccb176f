// Package grant decides which waiting jobs a provisioner gets runners for. It is
// pure: no clock, no store, no randomness.
package grant

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/template"
)

// Waiting is the demand of one label set.
type Waiting struct {
	// Labels of the jobs, canonical.
	Labels []string
	// Queued is how many jobs wait and are promised to nobody.
	Queued int
	// Active is how many of the set are reserved or run already.
	Active int
	// LastGranted is when the set last got something, in any unit that grows.
	LastGranted int64
	// Oldest is the place of the oldest job in the queue; lower came earlier.
	Oldest int64
}

// Slots is the room that one template offers.
type Slots struct {
	// Key is the template's.
	Key string
	// Labels are the template's, canonical.
	Labels []string
	// Free is how many more runners it takes.
	Free int
}

// Open is a promise made earlier to the same provisioner: units that it has not
// launched yet, and for which its advertisement still shows room.
type Open struct {
	// Labels of the promise.
	Labels []string
	// Units is how many.
	Units int
}

// Request is what Plan decides on.
type Request struct {
	// Waiting are the label sets with jobs, Slots the room, Open the promises that
	// take some of it already.
	Waiting []Waiting
	Slots   []Slots // see Waiting
	Open    []Open  // see Waiting
	// Max bounds the units of all grants together.
	Max int
}

// Grant promises Count runners for jobs of Labels.
type Grant struct {
	Labels []string // one of the waiting sets
	Count  int      // at least 1
}

// Plan returns one grant for each label set that gets something, most labels
// first, then the one whose oldest job has waited longest.
//
// A set's units take room of the templates that cover it, those with the fewest
// labels first, then by key. Open promises take theirs before anything is given.
// While there is enough for all, sets are served in the order of the answer, as
// the Shipfox API does. When there is not, they share: each unit goes to the set
// with the fewest jobs reserved or running, then to the one that got nothing for
// the longest time, so that a set that floods starves no other.
func Plan(req Request) []Grant {
	waiting := slices.Clone(req.Waiting)
	slices.SortStableFunc(waiting, func(a, b Waiting) int {
		return cmp.Or(
			-cmp.Compare(len(a.Labels), len(b.Labels)),
			cmp.Compare(a.Oldest, b.Oldest),
			slices.Compare(a.Labels, b.Labels),
		)
	})
	room := newRoom(req)
	counts, enough := inOrder(waiting, room.clone(), req.Max)
	if !enough {
		counts = fairly(waiting, room, req.Max)
	}
	var grants []Grant
	for i, n := range counts {
		if n > 0 {
			grants = append(grants, Grant{Labels: waiting[i].Labels, Count: n})
		}
	}
	return grants
}

// inOrder gives each set all that it can get, one after the other. enough says
// that no set went short of what some template could have given it.
func inOrder(waiting []Waiting, room *room, limit int) (counts []int, enough bool) {
	counts = make([]int, len(waiting))
	enough = true
	for i, w := range waiting {
		fits := room.fitting(w.Labels)
		for counts[i] < w.Queued && limit > 0 && room.take(fits) {
			counts[i]++
			limit--
		}
		if counts[i] < w.Queued && len(fits) > 0 {
			enough = false
		}
	}
	return counts, enough
}

// fairly gives one unit after the other to the set that has least.
func fairly(waiting []Waiting, room *room, limit int) []int {
	h := &hunger{waiting: waiting, counts: make([]int, len(waiting))}
	for i, w := range waiting {
		if w.Queued > 0 && len(room.fitting(w.Labels)) > 0 {
			h.sets = append(h.sets, i)
		}
	}
	heap.Init(h)
	for limit > 0 && len(h.sets) > 0 {
		next := h.sets[0]
		if !room.take(room.fitting(waiting[next].Labels)) {
			heap.Pop(h)
			continue
		}
		limit--
		if h.counts[next]++; h.counts[next] == waiting[next].Queued {
			heap.Pop(h)
		} else {
			heap.Fix(h, 0)
		}
	}
	return h.counts
}

// hunger is a heap of label sets; the first is to get the next unit.
type hunger struct {
	waiting []Waiting
	counts  []int
	sets    []int
}

func (h *hunger) Len() int      { return len(h.sets) }
func (h *hunger) Swap(i, j int) { h.sets[i], h.sets[j] = h.sets[j], h.sets[i] }
func (h *hunger) Push(v any)    { h.sets = append(h.sets, v.(int)) }

func (h *hunger) Pop() any {
	last := h.sets[len(h.sets)-1]
	h.sets = h.sets[:len(h.sets)-1]
	return last
}

func (h *hunger) Less(i, j int) bool {
	a, b := h.sets[i], h.sets[j]
	x, y := h.waiting[a], h.waiting[b]
	return cmp.Or(
		cmp.Compare(x.Active+h.counts[a], y.Active+h.counts[b]),
		cmp.Compare(x.LastGranted, y.LastGranted),
		cmp.Compare(x.Oldest, y.Oldest),
		cmp.Compare(a, b),
	) < 0
}

// room is the free slots in the order in which they are taken.
type room struct {
	slots   []Slots
	byLabel map[string][]int
	cache   map[string][]int
}

func newRoom(req Request) *room {
	r := &room{slots: slices.Clone(req.Slots), byLabel: map[string][]int{}, cache: map[string][]int{}}
	slices.SortStableFunc(r.slots, func(a, b Slots) int {
		return cmp.Or(cmp.Compare(len(a.Labels), len(b.Labels)), cmp.Compare(a.Key, b.Key))
	})
	for i, s := range r.slots {
		for _, label := range s.Labels {
			r.byLabel[label] = append(r.byLabel[label], i)
		}
	}
	for _, open := range req.Open {
		fits := r.fitting(open.Labels)
		for n := open.Units; n > 0 && r.take(fits); n-- {
			continue
		}
	}
	return r
}

func (r *room) clone() *room {
	return &room{slots: slices.Clone(r.slots), byLabel: r.byLabel, cache: r.cache}
}

// fitting returns the indexes of the slots that cover labels, best first.
func (r *room) fitting(labels []string) []int {
	key := strings.Join(labels, ",")
	if fits, ok := r.cache[key]; ok {
		return fits
	}
	// Whatever covers the set has its rarest label.
	rarest := slices.MinFunc(labels, func(a, b string) int { return cmp.Compare(len(r.byLabel[a]), len(r.byLabel[b])) })
	var fits []int
	for _, i := range r.byLabel[rarest] {
		if template.Covers(r.slots[i].Labels, labels) {
			fits = append(fits, i)
		}
	}
	r.cache[key] = fits
	return fits
}

func (r *room) take(fits []int) bool {
	for _, i := range fits {
		if r.slots[i].Free > 0 {
			r.slots[i].Free--
			return true
		}
	}
	return false
}
