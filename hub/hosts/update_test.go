package hosts

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/rollout"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// three hosts that are online, with Run running.
func three(t *testing.T) (w *world, ids [3]string) {
	w = newWorld(t, func(c *Config) { c.UpdateTimeout = 5 * time.Minute })
	for n := range ids {
		h, _ := w.enrolled(fmt.Sprint("h", n))
		ids[n] = h.ID
		w.fleet.is(h.ID, online("v1.2.0", 0))
	}
	return w, ids
}

func settle() {
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

func TestUpdateGoesByTheCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := three(t)
		w.fleet.is(ids[0], fleet.HostState{}) // away: no use as a canary
		stop := w.run()
		require.NoError(t, w.Update(t.Context(), nil, UpdateSpec{Version: newer}))
		settle()
		require.Equal(t, []string{ids[1] + "=" + newer}, w.fleet.asked(), "one host first")
		require.Equal(t, newer, w.host("h2").UpdateTo)
		time.Sleep(time.Minute)
		require.Len(t, w.fleet.asked(), 1, "and nobody before it is back")

		stop() // a restart of the hub in between
		before := w.fleet
		w = w.reopen()
		w.fleet.states = before.states
		w.run()
		settle()
		require.Empty(t, w.fleet.asked(), "who was asked is not asked again")
		w.fleet.is(ids[1], online(newer, 0))
		settle()
		require.Empty(t, w.host("h1").UpdateTo, "done")
		require.Equal(t, []string{ids[2] + "=" + newer}, w.fleet.asked(), "then the others, as far as they are there")
		w.fleet.is(ids[2], online(newer, 0))
		settle()
		require.Equal(t, newer, w.host("h0").UpdateTo, "one that is away has it to come")
		w.fleet.is(ids[0], online("v1.2.0", 0))
		settle()
		require.Equal(t, ids[0]+"="+newer, w.fleet.asked()[1])
		w.fleet.is(ids[0], online(newer, 0))
		settle()
		for _, id := range ids {
			require.Empty(t, w.host(id).UpdateTo+w.host(id).UpdateProblem)
		}
		require.NoError(t, w.Update(t.Context(), nil, UpdateSpec{Version: newer}))
		settle()
		require.Len(t, w.fleet.asked(), 2, "who has it is not asked")
	})
}

func TestAHostThatGoesBackStopsTheRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := three(t)
		w.run()
		require.NoError(t, w.Update(t.Context(), []string{"h1", "h0", ids[2], "h1"}, UpdateSpec{Version: newer, Canary: 1}))
		settle()
		require.Equal(t, []string{ids[1] + "=" + newer}, w.fleet.asked(), "the first that was named")
		w.fleet.is(ids[1], fleet.HostState{})
		time.Sleep(2 * time.Minute)
		secret := tokens.New(tokens.Agent).Reveal()
		back := online("v1.2.0", 0)
		back.Facts.Hints = map[string]string{rollout.HintUpdateProblem: newer + ": the hub refused " + secret}
		w.fleet.is(ids[1], back)
		settle()
		require.Equal(t, "v1.3.0: it went back: the hub refused sf_…", w.host("h1").UpdateProblem)
		require.Empty(t, w.host("h1").UpdateTo)
		require.Equal(t, "v1.3.0: stopped, since h1 failed", w.host("h0").UpdateProblem)
		time.Sleep(5 * time.Minute)
		require.Len(t, w.fleet.asked(), 1)
		require.Contains(t, w.told(), "host-update-failed host/h1")
		require.Contains(t, w.told(), "host-update-stopped host/h0")

		require.NoError(t, w.Update(t.Context(), []string{"h0"}, UpdateSpec{Version: newer}))
		settle()
		require.Empty(t, w.host("h0").UpdateProblem, "a new order begins anew")
		require.Len(t, w.fleet.asked(), 2)
	})
}

func TestWhatAnAgentAnswersToAnUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		problem string
		asked   int // in a minute
	}{
		"it will":                   {nil, "", 1},
		"it refuses":                {fmt.Errorf("update: %w", backend.ErrRefused), "v1.3.0: update: " + backend.ErrRefused.Error(), 1},
		"it can't":                  {errors.ErrUnsupported, "v1.3.0: " + errors.ErrUnsupported.Error(), 1},
		"the answer was lost":       {fleet.ErrOffline, "", 1},
		"the question was not sent": {fmt.Errorf("x: %w", backend.ErrUnavailable), "", 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := three(t)
				w.fleet.update = func(string, string) error { return test.err }
				w.run()
				require.NoError(t, w.Update(t.Context(), []string{"h0"}, UpdateSpec{Version: newer}))
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, test.problem, w.host("h0").UpdateProblem)
				require.InDelta(t, test.asked, len(w.fleet.asked()), 1)
				require.Equal(t, test.asked == 1, len(w.fleet.asked()) == 1)
			})
		})
	}
}

// What was asked went with the session: the agent, or the hub, was killed over it.
func TestAnAgentThatWasCutOffIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := three(t)
		w.fleet.update = func(string, string) error { return fleet.ErrOffline }
		stop := w.run()
		require.NoError(t, w.Update(t.Context(), []string{"h0", "h1"}, UpdateSpec{Version: newer}))
		settle()
		require.Len(t, w.fleet.asked(), 1)

		stop() // the hub was killed
		w = w.reopen(func(c *Config) { c.UpdateTimeout = 5 * time.Minute })
		w.run()
		w.fleet.is(ids[0], online("v1.2.0", 0))
		w.fleet.is(ids[1], online("v1.2.0", 0))
		settle()
		require.Equal(t, []string{ids[0] + "=" + newer}, w.fleet.asked())
		for range 10 { // and the agent, each time that it is asked
			time.Sleep(20 * time.Second)
			w.fleet.is(ids[0], online("v1.2.0", 0))
			settle()
		}
		require.Len(t, w.fleet.asked(), 3, "but not for ever")
		time.Sleep(6 * time.Minute)
		require.Contains(t, w.host("h0").UpdateProblem, "after 5m0s it is still, or again, v1.2.0")
		require.Contains(t, w.host("h1").UpdateProblem, "stopped, since h0 failed")

		require.NoError(t, w.Update(t.Context(), []string{"h0"}, UpdateSpec{Version: newer}))
		settle()
		w.fleet.is(ids[0], online("v1.2.0", 0))
		time.Sleep(10 * time.Second)
		settle()
		require.Len(t, w.fleet.asked(), 5, "a new order begins anew")
		w.fleet.is(ids[0], online(newer, 0))
		settle()
		require.Empty(t, w.host("h0").UpdateTo+w.host("h0").UpdateProblem)
	})
}

func TestAnUpdateThatHangsDoesNotHoldUpTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := three(t)
		release := make(chan struct{})
		w.fleet.update = func(string, string) error { <-release; return nil }
		w.record(ids[2], "r1")
		w.run()
		require.NoError(t, w.Update(t.Context(), []string{"h0"}, UpdateSpec{Version: newer}))
		settle()
		_, err := w.Drain(t.Context(), "h2", 0)
		require.NoError(t, err)
		settle()
		require.False(t, w.host("h2").Draining, "drains go on beside it")
		time.Sleep(6 * time.Minute)
		require.Equal(t, "v1.3.0: after 5m0s it is still, or again, v1.2.0: its agent's log says why", w.host("h0").UpdateProblem)
		close(release)
	})
}

func TestAnotherOrderForTheCanaryStopsTheFirst(t *testing.T) {
	for name, do := range map[string]func(*world) error{
		"another order": func(w *world) error { return w.Update(w.t.Context(), []string{"h0"}, UpdateSpec{Version: "v1.4.0"}) },
		"its removal":   func(w *world) error { return w.Remove(w.t.Context(), "h0", 0, true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ids := three(t)
				w.run()
				require.NoError(t, w.Update(t.Context(), nil, UpdateSpec{Version: newer}))
				settle()
				require.NoError(t, do(w))
				settle()
				for _, name := range []string{"h1", "h2"} {
					require.Contains(t, w.host(name).UpdateProblem, "v1.3.0: stopped, since h0 was to go first")
				}
				require.False(t, slices.Contains(w.fleet.asked(), ids[1]+"="+newer), "nobody goes on without the canary")
			})
		})
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Version = "v7.0.0" })
	h, _ := w.enrolled("a")
	w.add("never-enrolled")
	for _, version := range []string{"../x", "v1 2", "https://evil", "-v1", "a/b", "$(id)"} {
		require.ErrorIs(t, w.Update(t.Context(), nil, UpdateSpec{Version: version}), queue.ErrInvalid, version)
	}
	require.ErrorIs(t, w.Update(t.Context(), nil, UpdateSpec{Version: newer, Canary: -1}), queue.ErrInvalid)
	require.ErrorIs(t, w.Update(t.Context(), []string{}, UpdateSpec{Version: newer}), queue.ErrInvalid, "none is not all")
	require.ErrorIs(t, w.Update(t.Context(), []string{"a", "nobody"}, UpdateSpec{Version: newer}), ErrNotFound)
	require.Empty(t, w.host("a").UpdateTo, "all or none")
	require.NoError(t, w.Update(t.Context(), nil, UpdateSpec{}))
	require.Equal(t, "v7.0.0", w.host(h.ID).UpdateTo, "the hub's own")
	require.Empty(t, w.host("never-enrolled").UpdateTo)
}

func TestAHostThatForbidsUpdatesStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := three(t)
		forbidding := online("v1.2.0", 0)
		forbidding.Facts.UpdateForbidden = true
		w.fleet.is(ids[0], forbidding)
		keyless := online("v1.2.0", 0)
		keyless.Facts.UpdateForbidden, keyless.Facts.Hints = true, map[string]string{rollout.HintUpdateForbidden: "no key " + tokens.New(tokens.Agent).Reveal()}
		w.fleet.is(ids[1], keyless)
		w.run()
		require.NoError(t, w.Update(t.Context(), nil, UpdateSpec{Version: "1.3.0"}))
		settle()
		require.Equal(t, []string{ids[2] + "=1.3.0"}, w.fleet.asked(), "the next one is the canary")
		require.Equal(t, "1.3.0: the host's own policy forbids updates by the hub", w.host("h0").UpdateProblem)
		require.Equal(t, "1.3.0: no key sf_…", w.host("h1").UpdateProblem, "an agent says why")
		w.fleet.is(ids[2], online(newer, 0))
		settle()
		require.Empty(t, w.host("h2").UpdateTo+w.host("h2").UpdateProblem)
	})
}

// Only what this hub has can be fetched from it.
func TestUpdateToWhatTheHubHas(t *testing.T) {
	var has []string
	w := newWorld(t, func(c *Config) { c.Agents = func() []string { return has } })
	w.enrolled("h0")
	w.fleet.is(w.host("h0").ID, online("v1.2.0", 0))
	for _, c := range []struct {
		has           []string
		version, says string
	}{
		{nil, "", "no signed agent"}, {nil, "1.3.0", "no signed agent"}, {[]string{"1.3.0", "1.4.0"}, "", "is needed: this hub gives out 1.3.0, 1.4.0"},
		{[]string{"1.3.0"}, "1.4.0", `is "1.4.0": this hub gives out 1.3.0`},
	} {
		has = c.has
		err := w.Update(t.Context(), nil, UpdateSpec{Version: c.version})
		require.ErrorIs(t, err, queue.ErrInvalid, "%+v", c)
		require.ErrorContains(t, err, c.says)
		require.Empty(t, w.host("h0").UpdateTo)
	}
	has = []string{"1.3.0"}
	require.NoError(t, w.Update(t.Context(), nil, UpdateSpec{}))
	require.Equal(t, "1.3.0", w.host("h0").UpdateTo)
	require.NoError(t, w.Update(t.Context(), nil, UpdateSpec{Version: "v1.3.0"}))
}
