package provisioner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// told collects what Config.Ended is told.
type told struct {
	mu   sync.Mutex
	ends []provisioner.End
}

func (o *told) add(e provisioner.End) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ends = append(o.ends, e)
}

func (o *told) of(id string) (ends []provisioner.End) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.ends {
		if e.Runner == id {
			ends = append(ends, e)
		}
	}
	return ends
}

func (o *told) reasons() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]int{}
	for _, e := range o.ends {
		out[e.Reason]++
	}
	return out
}

// ending is a world whose runners do what the test says, one after the other.
func ending(t *testing.T, program func(backend.Spec) memory.Program, options ...option) (*world, knowing, *told) {
	t.Helper()
	k, o := knowing{newPlane()}, &told{}
	w := startWith(t, k.plane, k, append([]option{func(c *provisioner.Config, e *memory.Config) {
		c.Ended = o.add
		e.Behaviour = program
	}}, options...)...)
	return w, k, o
}

// startLoop runs a loop over a backend that is not the world's.
func startLoop(t *testing.T, c provisioner.Config) (loop *provisioner.Loop, end func()) {
	t.Helper()
	loop, err := provisioner.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	return loop, func() { cancel(); require.NoError(t, <-done) }
}

func (w *world) row() provisioner.Row { return w.loop.Health().Template("small").Ends.Row }

// Runners that never come to the control plane: what their template's health says of
// them is what an operator needs.
func TestRunnersThatNeverRegisterAreARow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, k, o := ending(t, func(backend.Spec) memory.Program { return memory.Program{} })
		defer w.stop()
		var ids []string
		for i := range 3 {
			k.grant(fmt.Sprint("r", i), 1, "linux")
			w.after(10 * time.Second)
			id := w.ids()[0]
			ids = append(ids, id)
			k.know(provisioner.Fact{Runner: id, Registered: provisioner.No, Busy: provisioner.No})
			w.after(10 * time.Minute)
		}
		for _, id := range ids {
			ends := o.of(id)
			require.Len(t, ends, 1, "each end is told once")
			e := ends[0]
			require.Equal(t, provisioner.EventTerminated, e.State)
			require.Equal(t, provisioner.ReasonRegistrationDeadline, e.Reason)
			require.True(t, e.Crash)
			require.Nil(t, e.ExitCode, "that it was killed is no news")
			require.Equal(t, provisioner.No, e.Registered)
			require.InDelta(t, 150, e.Lived.Seconds(), 30)
			require.Equal(t, "ended by us: registration-deadline, never registered", e.String())
		}
		row := w.row()
		require.Equal(t, 3, row.Count)
		require.Equal(t, ids[2], row.Last.Runner)
		require.Equal(t, "3 runners in a row ended without registering (registration-deadline)", row.String())
		require.Equal(t, map[string]int{provisioner.ReasonRegistrationDeadline: 3}, w.loop.Health().Template("small").Ends.Reasons)

		// One that works ends the row, though it goes on.
		k.grant("good", 1, "linux")
		w.after(10 * time.Second)
		k.know(provisioner.Fact{Runner: w.ids()[0], Registered: provisioner.Yes, Busy: provisioner.Yes, Job: "job-1"})
		w.after(20 * time.Second)
		require.Zero(t, w.row())
		require.Empty(t, w.loop.Health().Facet(provisioner.FacetLaunches).Reason)
	})
}

// What ends by itself tells its exit code and the backend's words, cut and without
// secrets; three in a row are told in the health, whoever backs off.
func TestAnEndTellsItsExitCodeAndItsWords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		secret := tokens.New(tokens.Bootstrap).Reveal()
		k, o := knowing{newPlane()}, &told{}
		engine := memory.New(memory.Config{Behaviour: func(backend.Spec) memory.Program {
			return memory.Program{Run: time.Second, ExitCode: 127, Error: "exec " + secret + ":\n" + strings.Repeat("no such file ", 100)}
		}})
		places := &blaming{Backend: engine.Backend("owner")}
		loop, end := startLoop(t, provisioner.Config{ControlPlane: k, Backend: places, Templates: []template.Template{small(10)}, Ended: o.add})
		defer end()
		for i := range 4 {
			k.grant(fmt.Sprint("r", i), 1, "linux")
			time.Sleep(10 * time.Second)
		}
		ids := k.mintedIDs()
		require.Len(t, ids, 4)
		e := o.of(ids[0])[0]
		require.Equal(t, provisioner.EventFailed, e.State)
		require.Equal(t, "exit-code", e.Reason)
		require.Equal(t, 127, *e.ExitCode)
		require.True(t, e.Crash)
		require.Contains(t, e.Text, "no such file")
		require.NotContains(t, e.Text, secret)
		require.LessOrEqual(t, len(e.Text), 300)
		require.NotContains(t, e.Text, "\n")
		health := loop.Health()
		require.Zero(t, health.Template("small").Failures, "its hosts back off, not the template")
		require.Equal(t, 4, health.Template("small").Ends.Row.Count)
		require.Contains(t, health.Facet(provisioner.FacetLaunches).Reason, "4 runners in a row ended without registering (exit code 127: exec")
		require.Len(t, places.crashed, 4)
	})
}

// A launch that is refused is an end too; want of room is none.
func TestALaunchThatIsRefusedIsAnEnd(t *testing.T) {
	for _, c := range []struct {
		err   error
		want  string
		crash bool
	}{
		{backend.ErrRefused, "not launched: refused (memory: host builder-01: image evil:1 is not allowed: " + backend.ErrRefused.Error() + "), never registered", true},
		{backend.ErrExhausted, "", false},
	} {
		bubble(t, func(t *testing.T) {
			p, o := newPlane(), &told{}
			engine := memory.New(memory.Config{Fault: func(call memory.Call) memory.Fault {
				if call.Op == memory.OpLaunch {
					return memory.Fault{Err: fmt.Errorf("launch %s: host builder-01: image evil:1 is not allowed: %w", call.ID, c.err)}
				}
				return memory.Fault{}
			}})
			loop, end := startLoop(t, provisioner.Config{
				ControlPlane: p, Backend: &blaming{Backend: engine.Backend("owner")}, Templates: []template.Template{small(10)}, Ended: o.add,
			})
			defer end()
			p.grant("r1", 1, "linux")
			time.Sleep(5 * time.Second)
			ends := o.of(p.mintedIDs()[0])
			if c.want == "" {
				require.Empty(t, ends)
			} else {
				require.Len(t, ends, 1)
				require.Equal(t, c.want, ends[0].String())
				require.Equal(t, c.crash, ends[0].Crash)
			}
			require.Equal(t, c.crash, loop.Health().Template("small").Ends.Row.Count == 1)
		})
	}
}

// Of all kinds of ends each is told once, and with what is known of the job.
func TestEveryEndIsToldOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, k, o := ending(t, func(backend.Spec) memory.Program { return memory.Program{} })
		defer func() { w.stop() }()
		k.grant("r", 5, "linux")
		w.after(5 * time.Second)
		ids := k.mintedIDs()
		require.Len(t, ids, 5)
		for _, id := range ids {
			k.know(provisioner.Fact{Runner: id, Registered: provisioner.Yes, Busy: provisioner.Yes, Job: "job-of-" + id})
		}
		w.after(20 * time.Second)
		require.True(t, w.engine.Exit(ids[0], 0))
		w.loop.Terminate(ids[1:2], "drain-deadline")
		require.True(t, w.engine.Lose(ids[2]))
		require.True(t, w.engine.Exit(ids[3], 3))
		w.after(2 * time.Minute)
		require.Equal(t, map[string]int{"exit-code": 2, "drain-deadline": 1, "disappeared": 1}, o.reasons())
		for _, id := range ids[:4] {
			require.Len(t, o.of(id), 1)
			require.Equal(t, "job-of-"+id, o.of(id)[0].Job)
			require.Equal(t, provisioner.Yes, o.of(id)[0].Worked)
			require.False(t, o.of(id)[0].Crash)
		}
		require.Contains(t, o.of(ids[1])[0].String(), "ended by us: drain-deadline, had job job-of-")
		require.Equal(t, "disappeared, had job job-of-"+ids[2], o.of(ids[2])[0].String())
		require.Empty(t, o.of(ids[4]), "it lives")

		// A restart tells nothing of what ended before, and of the rest as ever.
		w.stop()
		w.run()
		w.after(time.Minute)
		require.Len(t, o.ends, 4)
		secret := tokens.New(tokens.Admin).Reveal()
		w.loop.Terminate(ids[4:], "whoever has "+secret)
		w.after(time.Minute)
		require.Len(t, o.of(ids[4]), 1)
		require.NotContains(t, o.of(ids[4])[0].String(), secret)
		require.Len(t, o.ends, 5)
	})
}

// Whoever mends a template does not wait for the back-off that the broken one earned.
func TestAnEditedTemplateBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		warm := small(10)
		warm.MinIdle, warm.Image = 1, "broken"
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
			c.Templates = []template.Template{warm}
			e.Behaviour = func(spec backend.Spec) memory.Program {
				if spec.Image == "broken" {
					return memory.Program{Run: time.Second, ExitCode: 1}
				}
				return memory.Program{}
			}
		})
		defer w.stop()
		w.after(time.Hour)
		require.Greater(t, w.row().Count, 5)
		require.Greater(t, time.Until(w.loop.Health().Template("small").Until), 2*time.Second)
		require.NoError(t, w.loop.SetTemplates([]template.Template{warm}))
		w.after(time.Second)
		require.Greater(t, w.row().Count, 5, "it is the same")
		require.Zero(t, w.live())
		warm.Image = "mended"
		require.NoError(t, w.loop.SetTemplates([]template.Template{warm}))
		w.after(time.Second)
		require.Zero(t, w.row())
		require.Equal(t, 1, w.live())

		// What was launched before the edit says nothing of what came after it.
		old := p.mintedIDs()[p.mints()-1]
		warm.MinIdle = 2
		require.NoError(t, w.loop.SetTemplates([]template.Template{warm}))
		w.after(time.Second)
		require.Equal(t, 2, w.live())
		require.True(t, w.engine.Exit(old, 1))
		w.after(time.Second)
		require.Zero(t, w.row())
		require.Empty(t, w.loop.Health().Facet(provisioner.FacetLaunches).Reason)
		require.Equal(t, 2, w.live())
	})
}

// fetching is a backend that is slow to say that it has no image "broken".
type fetching struct{ backend.Backend }

func (f fetching) Prepare(_ context.Context, spec backend.Spec) error {
	if spec.Image == "broken" {
		time.Sleep(5 * time.Second) // a bubble's clock
		return errors.New("no such image")
	}
	return nil
}

// A pull for what a template was before says nothing of what it is now.
func TestAnEditedTemplateIsPreparedAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		warm := small(10)
		warm.MinIdle, warm.Image = 1, "broken"
		engine := memory.New(memory.Config{})
		loop, end := startLoop(t, provisioner.Config{ControlPlane: newPlane(), Backend: fetching{engine.Backend("owner")}, Templates: []template.Template{warm}})
		defer end()
		time.Sleep(2 * time.Second)
		warm.Image = "mended"
		require.NoError(t, loop.SetTemplates([]template.Template{warm}))
		time.Sleep(3500 * time.Millisecond)
		require.Len(t, engine.Truth(), 1)
		require.Empty(t, loop.Health().Facet(provisioner.FacetLaunches).Reason)
	})
}

// A new template has room as soon as the backend says so, not with the next slow look.
func TestANewTemplateHasRoomAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, newPlane(), func(c *provisioner.Config, e *memory.Config) {
			c.ListInterval = time.Hour
			e.Hosts = []memory.Host{{Name: "a", Room: 10}}
		})
		defer w.stop()
		w.after(time.Minute)
		more := template.Template{Key: "more", Labels: []string{"more"}, Image: "img", MaxConcurrency: 2, MinIdle: 1}
		require.NoError(t, w.loop.SetTemplates([]template.Template{small(10), more}))
		w.after(time.Second)
		require.Equal(t, 1, w.live())
	})
}

// A place whose runners are gone as soon as they were begun, as one where something
// prunes containers, is not fed without an end.
func TestWhatVanishesAtOnceIsACrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, k, o := ending(t, func(backend.Spec) memory.Program { return memory.Program{} }, func(c *provisioner.Config, _ *memory.Config) {
			c.Templates[0].MinIdle = 2
		})
		defer w.stop()
		for range 60_000 / 50 {
			w.after(50 * time.Millisecond)
			for _, id := range w.ids() {
				k.know(provisioner.Fact{Runner: id, Registered: provisioner.No, Busy: provisioner.No})
				require.True(t, w.engine.Lose(id))
			}
		}
		require.Less(t, k.mints(), 30, "in a minute")
		require.Positive(t, o.reasons()[provisioner.ReasonDisappeared])
		require.True(t, o.ends[0].Crash)
		require.Contains(t, w.loop.Health().Template("small").Reason, "disappeared: after")
	})
}

// ends counts what metrics are told.
type ends struct {
	provisioner.Metrics
	count int
}

func (e *ends) Ended(string, string, string)           { e.count++ }
func (e *ends) Launched(string, string, time.Duration) {}
func (e *ends) Registered(string, time.Duration)       {}
func (e *ends) Measured(provisioner.Levels)            {}

// A failed runner that is kept is no news to the loop's next life, even where its host
// is not there when that begins.
func TestWhatEndedBeforeTheLoopBeganProvesNothing(t *testing.T) {
	for _, away := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			first, second := &ends{}, &ends{}
			w, k, _ := ending(t, func(backend.Spec) memory.Program { return memory.Program{Run: 40 * time.Second, ExitCode: 1} }, func(c *provisioner.Config, e *memory.Config) {
				c.Metrics, e.Hosts = first, []memory.Host{{Name: "a"}}
			})
			defer func() { w.stop() }()
			k.grant("r", 1, "linux")
			w.after(2 * time.Minute)
			require.Equal(t, 1, w.row().Count)
			require.Equal(t, 1, first.count)
			w.stop()
			w.engine.SetOnline("a", !away)
			w.config.Metrics = second
			w.run()
			w.after(10 * time.Second)
			w.engine.SetOnline("a", true)
			w.after(2 * time.Minute)
			require.Equal(t, provisioner.TemplateHealth{Template: "small"}, w.loop.Health().Template("small"))
			require.Zero(t, second.count)
			require.Len(t, w.ids(), 1, "it is kept")
		})
	}
}
