package provisioner_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// lasting has runners that end when they are made to.
func lasting(_ *provisioner.Config, e *memory.Config) {
	e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{} }
}

// A runner keeps the deadlines it was launched with: those of a template that is
// replaced are for new ones, and what a restart is set to is too.
func TestALiveRunnerKeepsItsDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		long := small(4)
		long.MaxLifetime, long.RegistrationDeadline = 20*time.Minute, 10*time.Minute
		k := knowing{newPlane()}
		w := startWith(t, k.plane, k, lasting, func(c *provisioner.Config, _ *memory.Config) { c.Templates = []template.Template{long} })
		defer func() { w.stop() }()
		k.grant("r1", 2, "linux")
		w.after(5 * time.Second)
		old := w.ids()
		require.Len(t, old, 2)
		k.know(provisioner.Fact{Runner: old[0], Registered: provisioner.No, Busy: provisioner.No})

		short := small(4)
		short.MaxLifetime, short.RegistrationDeadline = time.Minute, 30*time.Second
		require.NoError(t, w.loop.SetTemplates([]template.Template{short}))
		k.grant("r2", 1, "linux")
		w.after(5 * time.Second)
		require.Len(t, w.ids(), 3)
		w.after(2 * time.Minute)
		require.Equal(t, old, w.ids(), "the new one's minute is over, the others' twenty are not")

		w.stop() // and so it is after a restart that is set to less
		w.config.Templates = []template.Template{short}
		w.config.Limits = provisioner.Limits{MaxLifetime: time.Minute, RegistrationDeadline: 10 * time.Second}
		w.run()
		w.after(5 * time.Minute)
		require.Equal(t, old, w.ids())
		w.after(4 * time.Minute)
		require.Equal(t, old[1:], w.ids(), "ten minutes to register are over")
		w.after(10 * time.Minute)
		require.Empty(t, w.ids(), "so are twenty of life")
	})
}

// The runners of a template that went away go on, and hold their slots when it is
// back.
func TestATemplateThatWentAwayStillCountsItsRunners(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, lasting, func(c *provisioner.Config, _ *memory.Config) { c.Templates = []template.Template{small(3)} })
		defer w.stop()
		p.grant("r1", 2, "linux")
		w.after(5 * time.Second)
		live := w.ids()
		require.Len(t, live, 2)

		other := template.Template{Key: "other", Labels: []string{"arm"}, Image: "img", MaxConcurrency: 1}
		require.NoError(t, w.loop.SetTemplates([]template.Template{other}))
		w.after(5 * time.Minute)
		require.Equal(t, live, w.ids(), "they go on")
		held := map[string]string{}
		for _, r := range w.loop.State().Runners {
			held[r.ID] = r.Template
		}
		require.Equal(t, map[string]string{live[0]: "small", live[1]: "small"}, held)

		require.NoError(t, w.loop.SetTemplates([]template.Template{small(3), other}))
		p.grant("r2", 3, "linux")
		w.after(5 * time.Second)
		require.Len(t, w.ids(), 3, "two of its three slots are taken")
		for _, s := range w.loop.State().Templates {
			if s.Key == "small" {
				require.Equal(t, 3, s.Live)
				require.Zero(t, s.Free)
			}
		}
	})
}

// Ready means that work can flow: where a list is bad, or does not come back, it is
// not, though the control plane answers every poll.
func TestReadyMindsTheAgeOfTheLastGoodList(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var fault atomic.Pointer[memory.Fault]
		fault.Store(&memory.Fault{})
		w := start(t, newPlane(), func(_ *provisioner.Config, e *memory.Config) {
			e.Fault = func(call memory.Call) memory.Fault {
				if call.Op != memory.OpList {
					return memory.Fault{}
				}
				return *fault.Load()
			}
		})
		defer w.stop()
		ready := func(want bool, why string) {
			t.Helper()
			require.Equal(t, want, w.loop.Health().Ready(), "%s: %s", why, w.loop.Health())
		}
		w.after(time.Minute)
		ready(true, "all is well")
		fault.Store(&memory.Fault{Err: errors.New("no engine")})
		w.after(15 * time.Second)
		ready(false, "the last list was bad")
		fault.Store(&memory.Fault{})
		w.after(time.Minute)
		ready(true, "it is back")

		fault.Store(&memory.Fault{Before: 25 * time.Second, Err: errors.New("no engine")})
		w.after(20 * time.Second)
		ready(true, "one that takes its time is no failure yet")
		fault.Store(&memory.Fault{Hang: true})
		w.after(2 * time.Minute)
		ready(false, "the last good one is old")
		require.True(t, w.loop.Health().Facet(provisioner.FacetPoll).OK, "polls are good")
		require.Contains(t, w.loop.Health().Facet(provisioner.FacetList).Reason, "the last good one was")
	})
}
