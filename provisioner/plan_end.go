package provisioner

import (
	"cmp"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// endings decides which runners are dropped, retired or removed.
func (p *plan) endings() {
	kept := p.keptForPostMortem()
	for _, r := range p.s.Runners {
		if r.Busy || !p.due(r.Retry) {
			continue
		}
		switch {
		case r.Phase.beforeLaunch():
			p.dropUnlaunched(r)
		case r.Phase == Launching, r.Phase == Dropped:
		case r.Phase == Uncertain:
			if p.passed(later(r.Born.Add(p.s.Limits.LaunchDeadline), r.Since)) {
				p.remove(r, ReasonLaunchDeadline)
			}
		case r.Phase == GivenUp:
			if r.visible() && r.Removed.IsZero() { // here after all, be it ended by now
				p.remove(r, ReasonGivenUp)
			}
		case r.HoldsSlot():
			p.endAlive(r)
		case r.visible() && r.Removed.IsZero():
			p.removeEnded(r, kept)
		}
	}
}

// passed says whether a deadline is over, and a good look that began after it
// still shows what it was for: what happened just before it counts.
func (p *plan) passed(deadline time.Time) bool {
	return p.due(deadline) && p.s.Observed && p.s.Began.After(deadline)
}

func (p *plan) remove(r *Runner, reason string) {
	p.do(Action{Do: DoRemove, Runners: []string{r.ID}, Template: r.Template, Reason: cmp.Or(r.Removing, reason)})
}

func (p *plan) retire(r *Runner, reason string) {
	p.retired = append(p.retired, r.ID)
	p.do(Action{Do: DoRetire, Runners: []string{r.ID}, Template: r.Template, Reason: reason})
}

// dropUnlaunched throws away a runner that must not be launched any more. One
// with a call under way is left until its answer is there.
func (p *plan) dropUnlaunched(r *Runner) {
	if r.Phase != Minted && r.Phase != Announced {
		return
	}
	switch {
	case r.Fact.Unwanted:
		p.drop(r, cmp.Or(r.Fact.Reason, ReasonUnwanted))
	case p.s.Stopping:
		p.drop(r, ReasonStopping)
	case !r.Expires.IsZero() && !r.Expires.After(p.s.Now.Add(p.s.Lanes[r.Template].LaunchTook)):
		p.drop(r, ReasonExpired)
	}
}

func (p *plan) drop(r *Runner, reason string) {
	p.do(Action{Do: DoDrop, Runners: []string{r.ID}, Template: r.Template, Reason: reason})
}

// endAlive ends a runner that lives, if one of the few reasons for it holds. A
// runner on a host that can't be observed is left alone: the intent stays.
func (p *plan) endAlive(r *Runner) {
	if r.Seen != nil && !r.visible() {
		return
	}
	switch {
	case r.Removing != "": // decided earlier, not done yet
		p.remove(r, r.Removing)
	case r.Fact.Unwanted:
		p.remove(r, cmp.Or(r.Fact.Reason, ReasonUnwanted))
	case p.due(r.Born.Add(r.MaxLifetime)):
		p.remove(r, ReasonMaxLifetime)
	case r.Seen == nil:
	case r.Unneeded != "" && !r.IdleSince.IsZero() && p.s.Able.Retire:
		p.retire(r, r.Unneeded)
	case r.Seen.State == backend.Starting && p.passed(r.StateSince.Add(p.s.Limits.LaunchDeadline)):
		p.endHalfMade(r)
	case r.Seen.State == backend.Stopping && p.due(r.StateSince.Add(p.s.Limits.StopDeadline)):
		p.remove(r, ReasonStopDeadline)
	case p.s.Able.Retire && r.Fact.Registered == No && r.Fact.Busy != Yes && p.due(r.Born.Add(r.RegistrationDeadline)):
		p.retire(r, ReasonRegistrationDeadline)
	}
}

// endHalfMade ends a runner that was created and, as far as was seen, never
// started. It may have started since: it is retired first where that can be done.
// One that did register, and can't be retired, has run behind the engine's back, as
// an engine that dies in the middle of a start shows it: when by facts that are
// younger than the deadline it has no job, nothing is left to wait for.
func (p *plan) endHalfMade(r *Runner) {
	asked := r.FactAt.After(r.StateSince.Add(p.s.Limits.LaunchDeadline))
	switch {
	case !p.s.Able.Retire, r.Fact.Registered == Yes && asked && !r.Working:
		p.remove(r, ReasonLaunchDeadline)
	case !r.Working:
		p.retire(r, ReasonLaunchDeadline)
	}
}

// removeEnded removes a runner that ended by itself, once its end was told and
// nobody needs it any more.
func (p *plan) removeEnded(r *Runner, kept map[string]bool) {
	if p.s.Stopping {
		return // the next start finds it; what is left of the time is for launches and reports
	}
	patient := r.Ended.Add(reportPatience)
	if r.Untold > 0 && kept[r.ID] && !p.due(patient) {
		return
	}
	if r.Seen.State != backend.Failed {
		p.remove(r, ReasonEnded)
		return
	}
	if !kept[r.ID] || p.due(r.Ended.Add(p.s.Limits.FailedRetention)) {
		p.remove(r, ReasonRetention)
	}
}

// keptForPostMortem are the ended runners that may stay: of the failed ones, and
// of those that wait for their report, the newest up to the retention count.
func (p *plan) keptForPostMortem() map[string]bool {
	var failed, waiting []*Runner
	for _, r := range p.s.Runners {
		if r.HoldsSlot() || !r.visible() || !r.Removed.IsZero() || r.Removing != "" {
			continue // what we remove may be told as failed on its way
		}
		if r.Seen.State == backend.Failed {
			failed = append(failed, r)
		} else if r.Untold > 0 {
			waiting = append(waiting, r)
		}
	}
	kept := map[string]bool{}
	for _, group := range [][]*Runner{failed, waiting} {
		slices.SortStableFunc(group, func(a, b *Runner) int { return b.Ended.Compare(a.Ended) })
		for _, r := range group[:min(len(group), max(p.s.Limits.FailedRetentionCount, 0))] {
			kept[r.ID] = true
		}
	}
	return kept
}

// scaleDown retires runners that have had no job for long and are above what
// the floors and the targets call for. Without the ability there is none.
func (p *plan) scaleDown() {
	if !p.s.Able.Retire || p.s.Stopping {
		return
	}
	surplus := map[string]int{}
	for key, c := range p.counts {
		surplus[key] = c.idle - p.idleWanted(key, c)
	}
	for _, r := range p.longestIdleFirst() {
		if surplus[r.Template] <= 0 || slices.Contains(p.retired, r.ID) {
			continue
		}
		if p.due(later(r.IdleSince.Add(p.s.Limits.IdleTimeout), r.Retry)) {
			surplus[r.Template]--
			p.retire(r, ReasonIdle)
		}
	}
}

// idleWanted is how many runners without a job a template should have.
func (p *plan) idleWanted(key string, c *counts) int {
	t := p.s.Index.Get(key)
	if t == nil {
		return 0
	}
	occupied := c.live - c.idle
	wanted := max(t.MinIdle, t.TargetConcurrency-occupied)
	if target, told := p.s.Targets[key]; told {
		wanted = max(wanted, target.Count+t.MinIdle-occupied)
	}
	return wanted
}

func (p *plan) longestIdleFirst() []*Runner {
	var idle []*Runner
	for _, r := range p.s.Runners {
		if r.visible() && !r.Busy && !r.IdleSince.IsZero() && r.idle() {
			idle = append(idle, r)
		}
	}
	slices.SortStableFunc(idle, func(a, b *Runner) int { return a.IdleSince.Compare(b.IdleSince) })
	return idle
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
