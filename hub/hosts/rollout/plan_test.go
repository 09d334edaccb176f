package rollout

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/hub/fleet"
)

// ordered makes orders a, b, c … of which the first so many are canaries.
func ordered(canaries int, states ...orderState) (orders []order) {
	for n, state := range states {
		name := string(rune('a' + n))
		o := order{host: name, name: name, rollout: "r", canary: n < canaries, version: newer, state: state}
		if state == "often" { // asked, again and again
			o.state, o.again = orderAsked, mostAgain
		}
		orders = append(orders, o)
	}
	return orders
}

const newer = "v1.3.0"

func TestPlan(t *testing.T) {
	now := time.Now()
	old, up, away := fleet.HostState{Online: true, Version: "v1.2.0", Since: now.Add(-time.Hour)}, fleet.HostState{Online: true, Version: newer}, fleet.HostState{Version: "v1.2.0"}
	wentBack := fleet.HostState{Online: true, Version: "v1.2.0", Since: now, Facts: fleet.Facts{Hints: map[string]string{HintUpdateProblem: "1.3.0: no hub within 2m0s"}}}
	otherHint := wentBack
	otherHint.Facts.Hints = map[string]string{HintUpdateProblem: "v1.2.9: bad signature"}
	cut, cutUp := old, up
	cut.Since, cutUp.Since = now, now
	oldHint := wentBack
	oldHint.Since = now.Add(-time.Hour)
	for name, test := range map[string]struct {
		canaries int
		orders   []orderState
		asked    time.Duration // ago
		states   []fleet.HostState
		want     string
	}{
		"the canary goes first":                     {1, []orderState{"waiting", "waiting"}, 0, []fleet.HostState{old, old}, "a asked"},
		"canaries go together":                      {2, []orderState{"waiting", "waiting", "waiting"}, 0, []fleet.HostState{old, old, old}, "a asked, b asked"},
		"the others wait for the canary":            {1, []orderState{"asked", "waiting"}, time.Minute, []fleet.HostState{away, old}, ""},
		"the others go when it is back":             {1, []orderState{"asked", "waiting", "waiting"}, time.Minute, []fleet.HostState{up, old, old}, "a done, b asked"},
		"a canary that is back old is not back":     {1, []orderState{"asked", "waiting"}, time.Minute, []fleet.HostState{old, old}, ""},
		"the others go one at a time":               {1, []orderState{"asked", "waiting"}, time.Minute, []fleet.HostState{up, old}, "a done, b asked"},
		"one of the others is under way":            {0, []orderState{"asked", "waiting"}, time.Minute, []fleet.HostState{old, old}, ""},
		"the next of the others":                    {0, []orderState{"asked", "waiting"}, time.Minute, []fleet.HostState{up, old}, "a done, b asked"},
		"a canary that is away is waited for":       {1, []orderState{"waiting", "waiting"}, 0, []fleet.HostState{away, old}, ""},
		"one that is away holds up no other":        {0, []orderState{"waiting", "waiting"}, 0, []fleet.HostState{away, old}, "b asked"},
		"one that has it already":                   {1, []orderState{"waiting", "waiting"}, 0, []fleet.HostState{up, old}, "a done, b asked"},
		"one that says why it went back":            {1, []orderState{"asked", "waiting"}, time.Minute, []fleet.HostState{wentBack, old}, "a failed v1.3.0: it went back: no hub within 2m0s, b stopped v1.3.0: stopped, since a failed"},
		"why another version went back":             {1, []orderState{"asked"}, time.Minute, []fleet.HostState{otherHint}, "a asked"},
		"why it went back before it was asked":      {1, []orderState{"asked"}, time.Minute, []fleet.HostState{oldHint}, ""},
		"one that comes back old, and says nothing": {1, []orderState{"asked", "waiting"}, 10 * time.Minute, []fleet.HostState{old, old}, "a failed v1.3.0: after 10m0s it is still, or again, v1.2.0: its agent's log says why, b stopped v1.3.0: stopped, since a failed"},
		"one that was cut off":                      {1, []orderState{"asked", "waiting"}, time.Minute, []fleet.HostState{cut, old}, "a asked"},
		"one that was cut off after the canaries":   {1, []orderState{"done", "asked", "waiting"}, time.Minute, []fleet.HostState{up, cut, old}, "b asked"},
		"one that was cut off, and has it":          {1, []orderState{"asked"}, time.Minute, []fleet.HostState{cutUp}, "a done"},
		"one that was cut off, and another failed":  {1, []orderState{"failed", "asked"}, time.Minute, []fleet.HostState{old, cut}, ""},
		"one that was cut off too often":            {1, []orderState{"often", "waiting"}, time.Minute, []fleet.HostState{cut, old}, ""},
		"one that never comes back":                 {0, []orderState{"asked", "waiting"}, 10 * time.Minute, []fleet.HostState{away, old}, "a failed v1.3.0: it is not back after 10m0s, b stopped v1.3.0: stopped, since a failed"},
		"one failed before":                         {1, []orderState{"failed", "asked", "waiting"}, time.Minute, []fleet.HostState{old, old, old}, "c stopped v1.3.0: stopped, since a failed"},
		"one that was asked goes on":                {1, []orderState{"failed", "asked", "stopped"}, time.Minute, []fleet.HostState{old, up, old}, "b done"},
	} {
		t.Run(name, func(t *testing.T) {
			orders, states := ordered(test.canaries, test.orders...), map[string]fleet.HostState{}
			for n, st := range test.states {
				states[orders[n].host] = st
				orders[n].asked = now.Add(-test.asked)
			}
			var got []string
			for _, s := range plan(orders, states, now, 10*time.Minute) {
				got = append(got, strings.TrimSpace(s.name+" "+string(s.to)+" "+s.problem))
			}
			require.Equal(t, test.want, strings.Join(got, ", "))
		})
	}
}

// TestRolloutsKeepTheirPromises plays rollouts in which hosts come and go, update,
// go back and hang, and checks after each step that nobody is asked too early, and
// in the end that every order has come to an end.
func TestRolloutsKeepTheirPromises(t *testing.T) {
	checks := flag.Lookup("rapid.checks") // it costs nothing here
	defer func(before string) { require.NoError(t, checks.Value.Set(before)) }(checks.Value.String())
	require.NoError(t, checks.Value.Set("1000"))
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "hosts")
		canaries := rapid.IntRange(1, n).Draw(rt, "canaries")
		orders := ordered(canaries, slices.Repeat([]orderState{orderWaiting}, n)...)
		states := map[string]fleet.HostState{}
		for _, o := range orders {
			states[o.host] = fleet.HostState{Online: true, Version: "v1.2.0"}
		}
		now, failed := time.Unix(1_800_000_000, 0), false
		step := func() {
			for _, s := range plan(orders, states, now, 10*time.Minute) {
				i := slices.IndexFunc(orders, func(o order) bool { return o.host == s.host })
				if s.to == orderAsked {
					if failed {
						rt.Fatalf("%s was asked after another failed", s.host)
					}
					checkAsk(rt, orders, i)
					if s.state == orderAsked {
						orders[i].again++
					}
					if orders[i].again > mostAgain {
						rt.Fatalf("%s is asked for ever", s.host)
					}
					orders[i].asked = now
				}
				failed = failed || s.to == orderFailed
				orders[i].state = s.to
			}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 120).Draw(rt, "seconds")) * time.Second)
			o := orders[rapid.IntRange(0, n-1).Draw(rt, "host")]
			st := states[o.host]
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				st.Online, st.Since = !st.Online, now
			case 1:
				if o.state == orderAsked {
					st = fleet.HostState{Online: true, Version: newer, Since: now}
				}
			case 2:
				if o.state == orderAsked {
					st.Online, st.Since = true, now.Add(time.Second)
					st.Facts.Hints = map[string]string{HintUpdateProblem: newer + ": no"}
				}
			}
			states[o.host] = st
			step()
		}
		for _, o := range orders { // all return, and whoever is asked does it
			st := states[o.host]
			st.Online = true
			states[o.host] = st
		}
		for range 2 * n {
			step()
			for _, o := range orders {
				if o.state == orderAsked {
					states[o.host] = fleet.HostState{Online: true, Version: newer, Since: now}
				}
			}
			now = now.Add(time.Second)
		}
		step()
		for _, o := range orders {
			if o.open() {
				rt.Fatalf("the order of %s never ends: %+v", o.host, orders)
			}
			if failed && o.state == orderStopped && o.version == states[o.host].Version {
				rt.Fatalf("%s was stopped and has it", o.host)
			}
		}
	})
}

// checkAsk: order i may be asked now.
func checkAsk(rt *rapid.T, orders []order, i int) {
	for n, o := range orders {
		switch {
		case n == i:
		case orders[i].canary:
		case o.canary && o.state != orderDone:
			rt.Fatalf("%s was asked before the canary %s was done: %s", orders[i].host, o.host, fmt.Sprint(o.state))
		case o.state == orderAsked:
			rt.Fatalf("%s was asked beside %s", orders[i].host, o.host)
		}
	}
}
