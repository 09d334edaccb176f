package records

import "time"

const (
	goneFor  = 5 * time.Minute
	mostGone = 10000
)

// Gone remembers something of runners that are gone, each for five minutes, and of the
// newest 10,000. The zero value is empty. One goroutine at a time may use it.
type Gone[T any] struct {
	of    map[string]goneOne[T]
	order []goneID
}

type goneOne[T any] struct {
	what T
	at   time.Time
}

type goneID struct {
	id string
	at time.Time
}

// Add remembers it of a runner that is gone now.
func (g *Gone[T]) Add(id string, what T, now time.Time) {
	if g.of == nil {
		g.of = map[string]goneOne[T]{}
	}
	g.of[id] = goneOne[T]{what, now}
	g.order = append(g.order, goneID{id, now})
	for len(g.order) > mostGone || now.Sub(g.order[0].at) >= goneFor {
		oldest := g.order[0]
		g.order = g.order[1:]
		if g.of[oldest.id].at.Equal(oldest.at) { // else it has gone again since
			delete(g.of, oldest.id)
		}
	}
}

// Of is what is remembered of a runner.
func (g *Gone[T]) Of(id string, now time.Time) (what T, ok bool) {
	one, ok := g.of[id]
	if !ok || now.Sub(one.at) >= goneFor {
		return what, false
	}
	return one.what, true
}
