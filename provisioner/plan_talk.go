package provisioner

import (
	"fmt"
	"time"
)

// report tells of live runners again now and then, and sends what waits in the
// outbox, one report at a time.
func (p *plan) report() {
	again := p.quiet(p.s.ReportBatch - p.s.Outbox)
	if len(again) > 0 {
		p.do(Action{Do: DoKeepAlive, Runners: again, Reason: "still running"})
	}
	waiting := p.s.Outbox + len(again)
	r := p.s.Report
	if waiting > 0 && !r.Busy && p.due(r.Next) {
		p.do(Action{Do: DoReport, Count: min(waiting, p.s.ReportBatch), Reason: fmt.Sprintf("%d events wait", waiting)})
	}
}

// quiet are live runners that were not told of for long: at most so many, what one
// report has room for. Of thousands the rest follows when it was accepted: neither
// news waits behind them all, nor do they crowd each other out of the outbox.
func (p *plan) quiet(most int) (ids []string) {
	if p.s.Limits.KeepAlive <= 0 || p.s.Stopping {
		return nil
	}
	for _, r := range p.s.Runners {
		if len(ids) >= most {
			break
		}
		if r.HoldsSlot() && r.Told == EventRunning && r.Untold == 0 && p.due(r.ToldAt.Add(p.s.Limits.KeepAlive)) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// list observes the backend: on a hint, and on a slow tick.
func (p *plan) list() {
	l := p.s.List
	if l.Busy || p.s.Stopping {
		return
	}
	next := later(l.Next, l.Began.Add(listPace(l)))
	reason := "a change was hinted at"
	if !p.s.Woken {
		next, reason = later(next, l.Began.Add(listInterval(p.s))), "it is time"
	}
	if p.due(next) {
		p.do(Action{Do: DoList, Reason: reason})
	}
}

// listPace is the least time from one list to the next. Where lists take long, as in
// a burst of launches, they get a twentieth of the time and the launches the rest.
func listPace(last Call) time.Duration {
	took := last.Done.Sub(last.Began) // less than nothing: it was not good
	return min(max(listSpacing, 20*took), listPaceMax)
}

func listInterval(s Snapshot) time.Duration {
	if s.Watched {
		return s.Limits.ListInterval
	}
	return s.Limits.UnwatchedListInterval
}

// size asks the backend for its room after each list. It is a call of its own:
// what the list told is not to wait for it.
func (p *plan) size() {
	c := p.s.Size
	if p.s.Able.Capacity && !c.Busy && !p.s.Stopping && p.s.List.Done.After(c.Began) && p.due(c.Next) {
		p.do(Action{Do: DoSize, Reason: "a new list is there"})
	}
}

// ask asks for facts about every runner that holds a slot, and about those
// whose end was not weighed yet.
func (p *plan) ask() {
	f := p.s.Facts
	if !p.s.Able.Facts || f.Busy || p.s.Stopping {
		return
	}
	runners, urgent := askable(p.s)
	if len(runners) == 0 {
		return
	}
	next, reason := f.Began.Add(p.s.Limits.FactsInterval), "it is time"
	if urgent {
		next, reason = f.Began.Add(factsSpacing), "runners ended"
	}
	if p.due(later(next, f.Next)) {
		p.do(Action{Do: DoAsk, Count: len(runners), Reason: reason})
	}
}

// askable are the runners to ask about: all of which the control plane may have been
// told, since it may end those that it is not asked about. urgent says that one has
// ended since the last ask began.
func askable(s Snapshot) (runners []*Runner, urgent bool) {
	for _, r := range s.Runners {
		unasked := r.Phase == Launched && !r.HoldsSlot() && !r.judged && !r.asked
		if r.HoldsSlot() && !r.Phase.beforeAnnounce() || unasked {
			runners = append(runners, r)
		}
		urgent = urgent || unasked
	}
	return runners, urgent
}

// poll sends a poll when none is under way, and has it sent anew when a
// template went from none free to some, or back.
func (p *plan) poll() {
	c := p.s.Poll
	if len(p.s.Order) == 0 {
		return // nothing can be asked for
	}
	if p.s.Stopping || p.s.Began.IsZero() || p.s.Able.Capacity && p.s.RoomBegan.IsZero() {
		return // before the first look nobody knows what is free
	}
	ad := advertise(p.s, p.counts)
	if p.s.Now.Sub(c.Done) > p.s.Limits.PollWait+p.s.Limits.PollMaxInterval {
		ad.Wait = 0 // the first one, and one after many that we broke off, only finds out whether there is an answer
	}
	if !c.Busy {
		next := c.Next
		if gained(p.s.Advertised, ad) {
			next = c.Began.Add(repollSpacing)
		}
		if p.due(next) {
			p.do(Action{Do: DoPoll, Ad: ad, Reason: "none is under way"})
		}
		return
	}
	if !sameOffer(p.s.Advertised, ad) && p.due(c.Began.Add(repollSpacing)) {
		p.do(Action{Do: DoRepoll, Reason: "what is free has changed"})
	}
}

// gained says whether b offers something for a template for which a does not.
func gained(a, b Advertisement) bool {
	free := make(map[string]bool, len(a.Templates))
	for _, s := range a.Templates {
		free[s.Template] = s.Free > 0 && a.MaxReservations > 0
	}
	for _, s := range b.Templates {
		if before, known := free[s.Template]; known && !before && s.Free > 0 && b.MaxReservations > 0 {
			return true
		}
	}
	return false
}
