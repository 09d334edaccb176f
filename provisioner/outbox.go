package provisioner

import "slices"

// outbox holds the events that the control plane has not accepted yet, in
// order. It is bounded: what is dropped first is the oldest that is not final.
type outbox struct {
	events []Event
	sent   int // how many from the front are under way
	batch  int // how many may go at once
}

func newOutbox() outbox { return outbox{batch: reportBatch} }

// put appends e and returns the event that had to give way, if any.
func (o *outbox) put(e Event) (dropped *Event) {
	o.events = append(o.events, e)
	if len(o.events) <= outboxLimit {
		return nil
	}
	waiting := o.events[o.sent:]
	at := max(slices.IndexFunc(waiting, func(e Event) bool { return !e.State.Terminal() }), 0)
	gone := waiting[at]
	o.events = slices.Delete(o.events, o.sent+at, o.sent+at+1)
	return &gone
}

// take returns the n oldest events, which are under way until settle is called.
func (o *outbox) take(n int) []Event {
	o.sent = min(n, len(o.events))
	return slices.Clone(o.events[:o.sent])
}

// settle ends what take began. Accepted events leave. Of rejected ones a
// single one leaves; more are tried again in halves, so that a bad one takes
// no other with it. It returns the events that are settled.
func (o *outbox) settle(accepted, rejected bool) []Event {
	n := o.sent
	o.sent = 0
	switch {
	case accepted:
		o.batch = min(o.batch*2, reportBatch)
	case rejected && n > 1:
		o.batch = max(1, n/2)
		return nil
	case !rejected:
		return nil
	}
	settled := slices.Clone(o.events[:n])
	o.events = slices.Delete(o.events, 0, n)
	return settled
}
