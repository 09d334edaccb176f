package fleet

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// mostOwed is how many turns a host may be behind and still get them back.
const mostOwed = 64

// mostBehind is how many more launches may be unanswered at a host than at another
// until it is passed over, if it takes longer than is usual (usualTimes): one that
// takes them and never replies must not take up all that may be under way at once.
const (
	mostBehind = 4
	usualTimes = 2
)

// silentTimes is how many times Config.SlowAfter a launch may go unanswered until its
// host gets no other, whoever else has room.
const silentTimes = 3

// choose takes the hosts in turn: the one that has had the fewest turns, and of
// these the one whose last is the longest ago. One that is fetching the image now,
// or behind with its answers, is passed over while another may take the runner.
//
// Turns are counted per host (pass). A host that could take nothing when others
// could is not owed their number (that would send all that comes to the host that
// has just returned, or just failed everything), and neither is a slow one. One
// that was passed over for its image's sake, or because a template was not for it,
// is: it gets its turns when it can have them, so that the hosts come out even.
func (f *Fleet) choose(l *launch, now time.Time) (*host, error) {
	fit, counts := f.fit(l, now)
	if len(fit) == 0 {
		return nil, fmt.Errorf("none of %d hosts can take it%s: %w", len(f.order), counted(counts), backend.ErrExhausted)
	}
	least := fit[0].count().unanswered
	for _, h := range fit {
		least = min(least, h.count().unanswered)
	}
	best, rank := fit[0], math.MaxInt
	for _, h := range fit {
		n := 0
		if h.preparing[l.ask.kind] != nil && !h.prepared[l.ask.kind] {
			n++
		}
		if h.count().unanswered > least+mostBehind && h.slow(now, usualTimes*f.usual) {
			n += 2
		}
		if h.slow(now, f.config.SlowAfter) {
			n += 4
		}
		if n < rank || n == rank && h.before(best) {
			best, rank = h, n
		}
	}
	f.turns++
	best.pass, best.turn = best.pass+1, f.turns
	f.level = max(f.level, best.pass)
	return best, nil
}

// fit are the hosts that may take the runner, in the order of their ids, and what
// is with the others.
func (f *Fleet) fit(l *launch, now time.Time) (fit []*host, counts map[obstacle]int) {
	fit, counts = f.scratch[:0], map[obstacle]int{}
	for _, h := range f.order {
		o := f.rules.judge(h, l.ask, now).obstacle
		if l.tried[h] {
			o = tried
		}
		h.pass = max(h.pass, f.owed(o, o == "" && h.slow(now, f.config.SlowAfter)))
		if o == "" {
			fit = append(fit, h)
		} else {
			counts[o]++
		}
	}
	f.scratch = fit
	return fit, counts
}

// answered takes in how long a launch took: usual is that of the newest ones.
func (f *Fleet) answered(took time.Duration) {
	if f.usual == 0 {
		f.usual = took
	}
	f.usual += (took - f.usual) / 8
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
