package provisioner

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/template"
)

// advance takes the runners that were begun a step further.
func (p *plan) advance() {
	if p.s.Stopping {
		return
	}
	dropped, room := p.named(DoDrop), p.launchable()
	for _, r := range p.s.Runners {
		if r.Phase != Minted && r.Phase != Announced || dropped[r.ID] {
			continue
		}
		if r.Phase == Minted && p.s.Able.Announce {
			p.do(Action{Do: DoAnnounce, Runners: []string{r.ID}, Template: r.Template, Reason: "registration is there"})
		} else if room[r.Template] > 0 {
			room[r.Template]--
			p.do(Action{Do: DoLaunch, Runners: []string{r.ID}, Template: r.Template, Reason: "ready"})
		}
	}
}

// launchable is how many of the runners that were begun may still be launched:
// since they were, others may have been found, or the maximum lowered.
func (p *plan) launchable() map[string]int {
	room := make(map[string]int, len(p.s.Order))
	for _, key := range p.s.Order {
		c := p.counts[key]
		room[key] = p.s.Index.Get(key).MaxConcurrency - (c.live - c.waiting)
	}
	return room
}

func (p *plan) named(deed Deed) map[string]bool {
	ids := map[string]bool{}
	for _, a := range p.actions {
		if a.Do == deed {
			for _, id := range a.Runners {
				ids[id] = true
			}
		}
	}
	return ids
}

// want is a call for runners of one template.
type want struct {
	template    *template.Template
	reservation string
	count       int
	reason      string
}

// launches decides which new runners are begun: first what every grant, target
// and floor calls for within the room there is, then which of that gets a
// launch slot now.
func (p *plan) launches() {
	p.expire()
	if p.s.Stopping {
		return
	}
	var wants []want
	room := p.rooms()
	wants = p.forGrants(wants, room)
	wants = p.forLevels(wants, room)
	wants = p.prepared(wants)
	p.mint(wants)
}

// expire drops the grants whose life is over.
func (p *plan) expire() {
	live := p.s.Grants[:0:0]
	for _, g := range p.s.Grants {
		if !g.Expires.IsZero() && p.due(g.Expires) {
			p.do(Action{Do: DoExpire, Reservation: g.Reservation, Count: g.Left, Reason: "its lifetime is over"})
			continue
		}
		live = append(live, g)
	}
	p.s.Grants = live
}

func (p *plan) rooms() map[string]int {
	room := make(map[string]int, len(p.s.Order))
	for _, key := range p.s.Order {
		room[key] = p.s.room(p.s.Index.Get(key), p.counts[key])
		if lane := p.s.Lanes[key]; lane.Failures > 0 {
			p.due(lane.Until)
		}
	}
	return room
}

// forGrants hands each grant to the templates that fit it, best first: a full
// one spills to the next.
func (p *plan) forGrants(wants []want, room map[string]int) []want {
	open := map[string][]*template.Template{} // by label set: what fits, the full ones in front left out
	for _, g := range p.s.Grants {
		set := strings.Join(g.Labels, ",")
		fits, known := open[set]
		if !known {
			fits = slices.Collect(p.s.Index.Fits(g.Labels))
		}
		for left := g.Left; left > 0 && len(fits) > 0; {
			t := fits[0]
			n := min(left, room[t.Key])
			if n == 0 {
				fits = fits[1:]
				continue
			}
			room[t.Key] -= n
			left -= n
			wants = append(wants, want{t, g.Reservation, n, "granted"})
		}
		open[set] = fits
	}
	return wants
}

// forLevels adds what targets and idle floors call for.
func (p *plan) forLevels(wants []want, room map[string]int) []want {
	granted := map[string]int{}
	for _, w := range wants {
		granted[w.template.Key] += w.count
	}
	ended := p.endedSinceTarget()
	for _, key := range p.s.Order {
		t, c := p.s.Index.Get(key), p.counts[key]
		n, reason := 0, ""
		if !p.due(p.s.Lanes[key].LevelRetry) {
			continue
		}
		if p.s.Able.Warm {
			n, reason = max(t.MinIdle-c.idle, t.TargetConcurrency-c.live-granted[key]), "below the idle floor"
		}
		if target, told := p.s.Targets[key]; told {
			idle := t.MinIdle
			if !p.s.Able.Warm {
				idle = 0
			}
			if below := target.Count + idle - c.live - ended[key] - granted[key]; below > n {
				n, reason = below, "below the target"
			}
		}
		if n = min(n, room[key]); n > 0 {
			room[key] -= n
			wants = append(wants, want{t, "", n, reason})
		}
	}
	return wants
}

// endedSinceTarget counts the runners that ended after the level of their
// template was read: the job that they ran is still part of it.
func (p *plan) endedSinceTarget() map[string]int {
	ended := map[string]int{}
	for _, r := range p.s.Runners {
		if target, told := p.s.Targets[r.Template]; told && countsTowards(r, target) {
			ended[r.Template]++
		}
	}
	return ended
}

func countsTowards(r *Runner, target Target) bool {
	return r.Phase == Launched && !r.Ended.IsZero() && !r.Ended.Before(target.ReadAt)
}

// prepared keeps the wants whose template has its image, and has the others
// prepared, outside of the launch bound.
func (p *plan) prepared(wants []want) []want {
	if !p.s.Able.Prepare {
		return wants
	}
	asked := map[string]bool{}
	return slices.DeleteFunc(wants, func(w want) bool {
		key := w.template.Key
		lane := p.s.Lanes[key]
		if !lane.Prepared.IsZero() && p.s.Now.Sub(lane.Prepared) < preparedFor {
			return false
		}
		if !lane.Preparing && !asked[key] {
			asked[key] = true
			p.do(Action{Do: DoPrepare, Template: key, Reason: w.reason})
		}
		return true
	})
}

// mint begins as many runners as there are launch slots, one of each want in
// turn, the template with the fewest under way first.
func (p *plan) mint(wants []want) {
	free, busy := p.slots()
	wants = slices.DeleteFunc(wants, func(w want) bool { return !p.due(p.s.Lanes[w.template.Key].MintRetry) })
	begun, taken := make([]int, len(wants)), make([]*int, len(wants)) // of each want: runners begun, slots of its template
	for i, w := range wants {
		if busy[w.template.Key] == nil {
			busy[w.template.Key] = new(int)
		}
		taken[i] = busy[w.template.Key]
	}
	for ; free > 0; free-- {
		next := -1
		for i, w := range wants {
			open := begun[i] < min(w.count, p.s.Limits.MintBatch) && *taken[i] < p.slotBound()
			if open && (next < 0 || *taken[i] < *taken[next]) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		begun[next]++
		*taken[next]++
	}
	for i, w := range wants {
		if begun[i] > 0 {
			p.counts[w.template.Key].begin(begun[i]) // the poll of this plan does not offer their slots
			p.do(Action{Do: DoMint, Template: w.template.Key, Reservation: w.reservation, Count: begun[i], Reason: w.reason})
		}
	}
}

// slotBound is how many launch slots one template may take: all of them where
// it is the only one, else half, so that one that hangs leaves the others theirs.
func (p *plan) slotBound() int {
	if len(p.s.Order) == 1 {
		return p.s.Limits.LaunchParallelism
	}
	return max(1, p.s.Limits.LaunchParallelism/2)
}

// slots counts the free launch slots and those that each template takes. A
// launch that takes far longer than usual gives its slot back, though it still
// counts as live: no bound is held across a call that can hang.
func (p *plan) slots() (free int, busy map[string]*int) {
	free, busy = p.s.Limits.LaunchParallelism, map[string]*int{}
	for _, r := range p.s.Runners {
		if r.HoldsSlot() && (r.Phase.beforeLaunch() || r.Phase == Launching) && !p.due(r.Begun.Add(p.slotPatience(r.Template))) {
			if busy[r.Template] == nil {
				busy[r.Template] = new(int)
			}
			*busy[r.Template]++
			free--
		}
	}
	return free, busy
}

func (p *plan) slotPatience(key string) time.Duration {
	usual := p.s.Lanes[key].LaunchTook
	return max(cmp.Or(3*usual, 5*time.Second), time.Second)
}
