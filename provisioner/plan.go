package provisioner

import "time"

// Plan decides what to do now. It is pure: the same snapshot gives the same
// actions in the same order, and nothing is changed. All rules of the loop are
// here and in the functions that it calls.
//
// The order is: what must end, what was begun and goes on, what is to begin,
// what is to be told and asked, and last when to plan again.
func Plan(s Snapshot) []Action {
	p := &plan{s: s, counts: count(s)}
	p.endings()
	p.scaleDown()
	p.advance()
	p.launches()
	p.report()
	p.list()
	p.size()
	p.ask()
	p.poll()
	p.wait()
	return p.actions
}

// plan is one decision in the making.
type plan struct {
	s       Snapshot
	counts  map[string]*counts
	actions []Action
	wakeAt  time.Time
	retired []string // ids that this plan retires already
}

func (p *plan) do(a Action) { p.actions = append(p.actions, a) }

// due says whether t has come; if not, the plan is made again when it has.
func (p *plan) due(t time.Time) bool {
	if !t.After(p.s.Now) {
		return true
	}
	if p.wakeAt.IsZero() || t.Before(p.wakeAt) {
		p.wakeAt = t
	}
	return false
}

func (p *plan) wait() {
	if !p.wakeAt.IsZero() {
		p.do(Action{Do: DoWait, Until: p.wakeAt, Reason: "nothing changes by itself before"})
	}
}
