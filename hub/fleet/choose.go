package fleet

import (
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// mostOwed is how many turns a host may be behind and still get them back.
const mostOwed = 64

// choose takes the hosts in turn: the one that has had the fewest turns, and of
// these the one whose last is the longest ago. One that is fetching the image now,
// or slow, is passed over while another may take the runner.
//
// Turns are counted per host (pass). A host that could take nothing when others
// could is not owed their number (that would send all that comes to the host that
// has just returned, or just failed everything), and neither is a slow one. One
// that was passed over for its image's sake, or because a template was not for it,
// is: it gets its turns when it can have them, so that the hosts come out even.
func (f *Fleet) choose(l *launch, now time.Time) (*host, error) {
	var best *host
	rank := 0
	counts := map[obstacle]int{}
	for _, h := range f.order {
		o := f.rules.judge(h, l.ask, now).obstacle
		if l.tried[h] {
			o = tried
		}
		slow := o == "" && h.slow(now, f.config.SlowAfter)
		h.pass = max(h.pass, f.owed(o, slow))
		if o != "" {
			counts[o]++
			continue
		}
		n := 0
		if h.preparing[l.ask.kind] != nil && !h.prepared[l.ask.kind] {
			n++
		}
		if slow {
			n += 2
		}
		if best == nil || n < rank || n == rank && h.before(best) {
			best, rank = h, n
		}
	}
	if best == nil {
		return nil, fmt.Errorf("none of %d hosts can take it%s: %w", len(f.order), counted(counts), backend.ErrExhausted)
	}
	f.turns++
	best.pass, best.turn = best.pass+1, f.turns
	f.level = max(f.level, best.pass)
	return best, nil
}

// owed is the least number of turns that the host counts as having had.
func (f *Fleet) owed(o obstacle, slow bool) uint64 {
	if o != "" && !o.ofTemplate() || slow {
		return f.level
	}
	return f.level - min(f.level, mostOwed)
}

// before says whose turn it is.
func (h *host) before(other *host) bool {
	if h.pass != other.pass {
		return h.pass < other.pass
	}
	return h.turn < other.turn
}

// counted puts the obstacles into words, in a fixed order.
func counted(counts map[obstacle]int) string {
	var parts []string
	for _, o := range obstacles {
		if n := counts[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
