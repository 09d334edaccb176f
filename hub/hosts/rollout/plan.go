package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/tokens"
)

// Same compares versions: v1.2.3 is 1.2.3.
func Same(a, b string) bool { return strings.TrimPrefix(a, "v") == strings.TrimPrefix(b, "v") }

// HintUpdateProblem is the hint by which an agent that went back to its former
// version says why: the version that failed, ": ", and the reason.
const HintUpdateProblem = "update_problem"

// HintUpdateForbidden is the hint by which an agent whose facts say that it takes no
// updates says why.
const HintUpdateForbidden = "update_forbidden"

// mostAgain is how often an agent is asked again, since it came back without a word
// of what became of the update: whatever ends its sessions meanwhile, it may be that.
const mostAgain = 3

// step is what to do about one order.
type step struct {
	order
	to orderState
}

func (s step) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s to %s: %s -> %s: %s", s.name, s.version, s.state, s.to, s.problem), ": ")
}

// plan decides on one rollout, whose orders are given in their places. The
// canaries go first, together; the others when all canaries are back with the new
// version, one at a time. One that fails stops those that were not asked yet.
// Hosts that are away wait for their return, and hold up nobody who does not have
// to wait for them. One that was asked, and lost its session over it, is asked again,
// unless another failed.
func plan(orders []order, states map[string]fleet.HostState, now time.Time, timeout time.Duration) (steps []step) {
	orders = slices.Clone(orders)
	failed := ""
	for i, o := range orders {
		if !o.open() {
			if o.state == orderFailed && failed == "" {
				failed = o.name
			}
			continue
		}
		next, problem := progress(o, states[o.host], now, timeout)
		if next == o.state {
			continue
		}
		steps = append(steps, step{order: o.with(problem), to: next})
		if next == orderFailed && failed == "" {
			failed = o.name
		}
		orders[i].state = next
	}
	canaries, under := 0, 0
	for _, o := range orders {
		if o.open() && o.canary {
			canaries++
		}
		if o.state == orderAsked && !o.canary {
			under++
		}
	}
	for _, o := range orders {
		switch {
		case o.cutOff(states[o.host]) && failed == "":
			steps = append(steps, step{order: o, to: orderAsked})
		case o.state != orderWaiting:
		case failed != "":
			steps = append(steps, step{order: o.with(fmt.Sprintf("%s: stopped, since %s failed", o.version, failed)), to: orderStopped})
		case !states[o.host].Online:
		case o.canary:
			steps = append(steps, step{order: o, to: orderAsked})
		case canaries == 0 && under == 0:
			under++
			steps = append(steps, step{order: o, to: orderAsked})
		}
	}
	return steps
}

func (o order) with(problem string) order {
	o.problem = problem
	return o
}

// cutOff says that what was asked of an agent is to be asked again: its session has
// ended since, and it is back as it was. What it was asked for may be done or not; it
// may be asked twice for the same.
func (o order) cutOff(st fleet.HostState) bool {
	return o.state == orderAsked && o.again < mostAgain && st.Online && st.Since.After(o.asked)
}

// progress says what became of an order that is open.
func progress(o order, st fleet.HostState, now time.Time, timeout time.Duration) (next orderState, problem string) {
	failed, why, told := strings.Cut(st.Facts.Hints[HintUpdateProblem], ": ")
	switch {
	case st.Online && Same(st.Version, o.version):
		return orderDone, ""
	case o.state != orderAsked:
		return o.state, ""
	case st.Online && told && Same(failed, o.version) && st.Since.After(o.asked):
		return orderFailed, fmt.Sprintf("%s: it went back: %s", o.version, tokens.Redact(why))
	case now.Sub(o.asked) < timeout:
		return o.state, ""
	case st.Online:
		return orderFailed, fmt.Sprintf("%s: after %s it is still, or again, %s: its agent's log says why", o.version, timeout, st.Version)
	}
	return orderFailed, fmt.Sprintf("%s: it is not back after %s", o.version, timeout)
}
