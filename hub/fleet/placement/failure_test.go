package placement

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

var errBad = fmt.Errorf("no such image: %w", backend.ErrInvalid)

// obstacle is what is with the host then.
func obstacle(p *Placer, h *Host, a *Ask, at time.Time) Obstacle {
	_, o := p.Judge(h, a, at)
	return o
}

func TestThePauseGrowsAndABurstCountsOnce(t *testing.T) {
	p := newPlacer()
	h, a := open(p, "a"), ask(p)
	at, before := now, time.Duration(0)
	for n := range 12 {
		require.Equal(t, n+1, p.Failed(h, a, errBad, at))
		require.Zero(t, p.Failed(h, a, errBad, at), "of a burst only the first counts")
		require.Equal(t, BackingOff, obstacle(p, h, a, at))
		pause := h.failures[template].until.Sub(at)
		require.Equal(t, at.Add(pause), again(p, h, at), "it is told when")
		require.Greater(t, pause, before*11/10)
		require.LessOrEqual(t, pause, p.RetryMax*6/5)
		require.Equal(t, BackingOff, obstacle(p, h, a, at.Add(pause-1)))
		at = at.Add(pause)
		room, o := p.Judge(h, a, at)
		require.Empty(t, o)
		require.Equal(t, 1, room, "one at a time, to see whether it is over")
		require.Zero(t, again(p, h, at))
		h.Load.Wait(at)
		require.Equal(t, BackingOff, obstacle(p, h, a, at))
		require.Zero(t, again(p, h, at), "nobody knows how long a launch takes")
		h.Load.Reset()
		if before = pause; n > 7 {
			before = 0 // the longest pauses differ by chance alone
		}
	}
	h.Launched(a, "r")
	require.Equal(t, 8, first(p.Judge(h, a, at)))
	require.Equal(t, 1, p.Failed(h, a, errBad, at), "it begins anew")
}

func first(room int, _ Obstacle) int { return room }

// A back-off is one template's, as it was when it failed.
func TestABackOffIsOfWhatWasAskedFor(t *testing.T) {
	p := newPlacer()
	p.SetRules(map[string]Rule{template: {Hosts: []string{"a"}}, "other": {Hosts: []string{"a"}}})
	h, a := open(p, "a"), ask(p)
	h.Facts.Runtimes = []string{"runsc"}
	p.Failed(h, a, errBad, now)
	own := ask(p, func(s *wire.Spec) {
		s.ID, s.Env, s.Labels, s.Command = "r", map[string]string{"TOKEN": "x"}, map[string]string{"l": "v"}, []string{"run"}
	})
	require.Equal(t, BackingOff, obstacle(p, h, own, now), "what is one runner's own makes no difference")
	require.Empty(t, obstacle(p, h, p.Ask("other", &wire.Spec{Image: "img"}), now))
	require.Empty(t, obstacle(p, h, ask(p, func(s *wire.Spec) { s.Image = "another" }), now), "it was edited")
	p.SetRules(map[string]Rule{template: {Hosts: []string{"a"}, Isolated: true}})
	require.Empty(t, obstacle(p, h, ask(p), now), "so it was here")

	p.SetRules(nil)
	none := p.Ask("", &wire.Spec{Image: "img"})
	p.Failed(h, none, errBad, now)
	require.Equal(t, BackingOff, obstacle(p, h, none, now), "a runner of no template has its kind's")
	require.Empty(t, obstacle(p, h, p.Ask("", &wire.Spec{Image: "another"}), now))
}

// Want of room by a host's own word is no failure: it is over when a runner ends.
func TestExhaustedIsNoFailure(t *testing.T) {
	p := newPlacer()
	h, a := open(p, "a"), ask(p)
	full := fmt.Errorf("host a: %w", backend.ErrExhausted)
	at := now
	for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, mostPause, mostPause} {
		require.Zero(t, p.Failed(h, a, full, at))
		require.Zero(t, p.Failed(h, a, full, at), "of a burst only the first counts")
		require.Equal(t, Exhausted, obstacle(p, h, a, at.Add(pause-1)))
		require.Equal(t, at.Add(pause), again(p, h, at))
		require.Equal(t, pause, h.Pause(a, at))
		at = at.Add(pause)
		require.Equal(t, 1, first(p.Judge(h, a, at)), "one at a time, to see whether it is over")
		h.Load.Wait(at)
		require.Equal(t, Exhausted, obstacle(p, h, a, at))
		h.Load.Reset()
		require.Zero(t, h.Pause(a, at))
	}
	h.Launched(a, "r")
	require.Equal(t, 8, first(p.Judge(h, a, at)))
	p.Failed(h, a, full, at)
	require.Empty(t, h.Reasons(at))
	require.Empty(t, last(p, h, at))
	h.Freed()
	require.Empty(t, obstacle(p, h, a, at))
}

func TestACrashIsOverWhenARunnerHasComeToSomething(t *testing.T) {
	p := newPlacer()
	h, a := open(p, "a"), ask(p)
	long := now.Add(time.Hour)
	require.Equal(t, 1, p.Crashed(h, a, "exit-code: 1", now.Add(-time.Minute), now))
	require.Zero(t, p.Crashed(h, a, "exit-code: 1", now.Add(-time.Second), now.Add(time.Minute)), "launched before the last crash was known")
	require.Equal(t, 1, first(p.Judge(h, a, long)))

	holding := map[string]bool{"probe": true}
	settle := func() { h.Settle(func(id string) bool { return holding[id] }) }
	h.Launched(a, "probe")
	settle()
	require.Equal(t, BackingOff, obstacle(p, h, a, long), "that it started is no proof")
	require.False(t, h.Proved(template, now.Add(-time.Second)), "an older one is none either")
	clear(holding)
	settle()
	require.Equal(t, 1, first(p.Judge(h, a, long)), "it ended: another may try")
	h.Launched(a, "second")
	require.Equal(t, 2, p.Crashed(h, a, "exit-code: 2", now.Add(time.Minute), long), "the pause grows")
	require.True(t, h.Proved(template, long))
	require.False(t, h.Proved(template, long))
	require.Equal(t, 8, first(p.Judge(h, a, long)))
}

// again is when it is told to be tried again.
func again(p *Placer, h *Host, at time.Time) time.Time {
	return p.Explain(slices.Values([]*Host{h}), template, at)[0].RetryAt
}

// last is the last failure as it is told then, with its age.
func last(p *Placer, h *Host, at time.Time) string {
	v := p.Explain(slices.Values([]*Host{h}), template, at)[0]
	if v.LastFailure == "" && v.FailedAt.IsZero() {
		return ""
	}
	return fmt.Sprint(v.LastFailure, " ", at.Sub(v.FailedAt))
}

// The last failure is told whether its pause runs or not, until it says nothing of the
// next launch any more.
func TestTheLastFailureIsTold(t *testing.T) {
	refused := fmt.Errorf("host a: privileged runners: %w", backend.ErrRefused)
	away := fmt.Errorf("host a: %w: no such socket", backend.ErrUnavailable)
	for name, c := range map[string]struct {
		err  error
		do   func(p *Placer, h *Host, a *Ask)
		told bool
	}{
		"nothing happens":                      {errBad, func(*Placer, *Host, *Ask) {}, true},
		"the policy, and nothing happens":      {refused, func(*Placer, *Host, *Ask) {}, true},
		"another template is launched":         {errBad, func(p *Placer, h *Host, _ *Ask) { h.Launched(p.Ask("other", &wire.Spec{Image: "img"}), "r") }, true},
		"a runner ends":                        {errBad, func(_ *Placer, h *Host, _ *Ask) { h.Freed() }, true},
		"the engine is seen":                   {errBad, func(_ *Placer, h *Host, _ *Ask) { h.EngineSeen() }, true},
		"the engine was away, and is seen":     {away, func(_ *Placer, h *Host, _ *Ask) { h.EngineSeen() }, false},
		"one is launched":                      {refused, func(_ *Placer, h *Host, a *Ask) { h.Launched(a, "r") }, false},
		"the scale set is edited":              {refused, func(p *Placer, _ *Host, _ *Ask) { ask(p, func(s *wire.Spec) { s.Image = "another" }) }, false},
		"the scale set is to be isolated":      {refused, func(p *Placer, _ *Host, _ *Ask) { p.SetRules(map[string]Rule{template: {Isolated: true}}) }, false},
		"the policy, and its agent came back":  {refused, func(_ *Placer, h *Host, _ *Ask) { h.Reconnected() }, false},
		"its agent came back, and it was long": {errBad, func(_ *Placer, h *Host, _ *Ask) { h.Reconnected() }, false},
		"its agent came back, and it fails again": {errBad, func(p *Placer, h *Host, a *Ask) {
			h.Reconnected()
			require.Equal(t, 2, p.Failed(h, a, errBad, now.Add(time.Hour)))
		}, true},
	} {
		p := newPlacer()
		h, a := open(p, "a"), ask(p)
		require.Empty(t, last(p, h, now))
		p.Failed(h, a, c.err, now)
		require.Equal(t, c.err.Error()+" 0s", last(p, h, now), name)
		c.do(p, h, a)
		require.Equal(t, c.told, last(p, h, now.Add(2*time.Hour)) != "", name)
	}
	p := newPlacer()
	h, a := open(p, "a"), ask(p)
	p.Failed(h, a, errBad, now)
	require.Equal(t, errBad.Error()+" 1h0m0s", last(p, h, now.Add(time.Hour)))
	h.Reconnected()
	require.NotEmpty(t, last(p, h, now), "while its pause runs it is why the host waits")
	require.Equal(t, BackingOff, obstacle(p, h, a, now), "an agent that comes and goes ends no back-off")
	p.Failed(h, a, refused, now.Add(time.Hour))
	h.Reconnected()
	require.Empty(t, obstacle(p, h, a, now.Add(time.Hour)), "but a refusal's: its policy may be another")
	p.Failed(h, a, errors.New("token sf_agt_"+fmt.Sprintf("%043d", 0)), now)
	require.NotContains(t, last(p, h, now), "sf_agt_00")
}

// A host is remembered so much of, whatever it is asked.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	p := newPlacer()
	h := open(p, "a")
	for i := range 3 * mostKinds {
		a := p.Ask(fmt.Sprint(i), &wire.Spec{Image: fmt.Sprint(i)})
		p.Failed(h, a, errBad, now)
		p.Failed(h, a, backend.ErrExhausted, now)
		h.Fetch(a)
		h.Fetched(a, true)
		require.LessOrEqual(t, max(len(h.failures), len(h.exhausted), len(h.prepared), len(h.fetching), len(p.asks)), mostKinds)
	}
}
