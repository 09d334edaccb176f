package placement

import (
	"iter"
	"math"
	"time"
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

// Choose takes the hosts in turn: the one that has had the fewest turns, and of
// these the one whose last is the longest ago. One that is fetching the image now,
// or behind with its answers, is passed over while another may take the runner.
// tried are the ids of those that could not take it. The error is Obstacles'.
//
// Turns are counted per host (pass). A host that could take nothing when others
// could is not owed their number (that would send all that comes to the host that
// has just returned, or just failed everything), and neither is a slow one. One
// that was passed over for its image's sake, or because a template was not for it,
// is: it gets its turns when it can have them, so that the hosts come out even.
func (p *Placer) Choose(hosts iter.Seq[*Host], a *Ask, tried map[string]bool, now time.Time) (*Host, error) {
	fit, counts := p.fit(hosts, a, tried, now)
	if len(fit) == 0 {
		return nil, counts.Err()
	}
	defer clear(fit)
	least := fit[0].Load.Unanswered
	for _, h := range fit {
		least = min(least, h.Load.Unanswered)
	}
	best, rank := fit[0], math.MaxInt
	for _, h := range fit {
		n := 0
		if h.fetching[a.Kind] {
			n++
		}
		if h.Load.Unanswered > least+mostBehind && h.slow(now, usualTimes*p.usual) {
			n += 2
		}
		if h.slow(now, p.SlowAfter) {
			n += 4
		}
		if n < rank || n == rank && h.before(best) {
			best, rank = h, n
		}
	}
	p.turns++
	best.pass, best.turn = best.pass+1, p.turns
	p.level = max(p.level, best.pass)
	return best, nil
}

// fit are the hosts that may take the runner, in their order, and what is with the
// others.
func (p *Placer) fit(hosts iter.Seq[*Host], a *Ask, tried map[string]bool, now time.Time) (fit []*Host, counts Obstacles) {
	fit, counts = p.scratch[:0], Obstacles{}
	for h := range hosts {
		_, o := p.Judge(h, a, now)
		if tried[h.ID] {
			o = Tried
		}
		h.pass = max(h.pass, p.owed(o, o == "" && h.slow(now, p.SlowAfter)))
		if o == "" {
			fit = append(fit, h)
		} else {
			counts[o]++
		}
	}
	p.scratch = fit
	return fit, counts
}

// Answered takes in how long a launch took: usual is that of the newest ones.
func (p *Placer) Answered(took time.Duration) {
	if p.usual == 0 {
		p.usual = took
	}
	p.usual += (took - p.usual) / 8
}

// owed is the least number of turns that the host counts as having had.
func (p *Placer) owed(o Obstacle, slow bool) uint64 {
	if o != "" && !o.ofTemplate() || slow {
		return p.level
	}
	return p.level - min(p.level, mostOwed)
}

// before says whose turn it is.
func (h *Host) before(other *Host) bool {
	if h.pass != other.pass {
		return h.pass < other.pass
	}
	return h.turn < other.turn
}
