package provisioner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

var errUnsupported = errors.ErrUnsupported

// world is a loop over a scripted plane and an engine in memory, in a bubble.
type world struct {
	t      *testing.T
	plane  *plane
	engine *memory.Engine
	loop   *provisioner.Loop
	stop   func()
	log    *bytes.Buffer
	config provisioner.Config
}

type option func(*provisioner.Config, *memory.Config)

func start(t *testing.T, p *plane, options ...option) *world {
	return startWith(t, p, p, options...)
}

func startWith(t *testing.T, p *plane, control provisioner.ControlPlane, options ...option) *world {
	t.Helper()
	w := &world{t: t, plane: p, log: &bytes.Buffer{}}
	w.config = provisioner.Config{
		ControlPlane: control, Templates: []template.Template{small(10)},
		Logger: hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Debug}),
	}
	engine := memory.Config{Behaviour: func(backend.Spec) memory.Program {
		return memory.Program{Start: 100 * time.Millisecond, Run: 20 * time.Second}
	}}
	for _, o := range options {
		o(&w.config, &engine)
	}
	w.engine = memory.New(engine)
	w.run()
	return w
}

// run starts a loop over what there is: the first time, or as after a crash.
func (w *world) run() {
	w.config.Backend = w.engine.Backend("owner")
	loop, err := provisioner.New(w.config)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	w.loop = loop
	w.stop = func() {
		cancel()
		require.NoError(w.t, <-done)
	}
}

func (w *world) after(d time.Duration) {
	time.Sleep(d) // a bubble's clock: nothing waits
	synctest.Wait()
}

func (w *world) live() (n int) {
	for _, p := range w.engine.Truth() {
		if p.Runner.State.HoldsSlot() {
			n++
		}
	}
	return n
}

func (w *world) ids() (ids []string) {
	for _, p := range w.engine.Truth() {
		ids = append(ids, p.Runner.ID)
	}
	return ids
}

func small(most int) template.Template {
	return template.Template{Key: "small", Labels: []string{"linux", "small"}, Image: "img", CPU: 1, Memory: 1 << 30, MaxConcurrency: most}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestAGrantBecomesRunnersThatRunAndGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p)
		defer w.stop()
		p.grant("r1", 5, "linux")
		w.after(10 * time.Second)
		require.Equal(t, 5, w.live())
		ids := w.ids()
		labels := w.engine.Truth()[0].Spec.Labels
		require.Equal(t, "small", labels[provisioner.LabelTemplate])
		require.Equal(t, "r1", labels[provisioner.LabelReservation])
		require.Equal(t, "its-own", labels["plane"], "what the registration wants to find again is on the runner")
		require.True(t, w.loop.Health().Ready(), w.loop.Health().String())

		w.after(30 * time.Second)
		require.Empty(t, w.engine.Truth(), "ended runners are reported, then removed")
		for _, id := range ids {
			require.Equal(t, []string{"starting", "running", "stopped"}, p.told(id))
		}
		require.Equal(t, 5, p.mints())
		require.NotContains(t, w.log.String(), "canary", "no secret is logged")
		require.NotContains(t, fmt.Sprintf("%+v", w.loop.State()), "canary")
	})
}

func TestNothingIsLaunchedAboveTheMaximum(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) { c.Templates = []template.Template{small(3)} })
		defer w.stop()
		p.grant("r1", 8, "linux")
		w.after(5 * time.Second)
		require.Equal(t, 3, w.live())
		require.Equal(t, 3, p.mints(), "nothing is minted that can't be launched")
		w.after(2 * time.Minute)
		require.Equal(t, 8, p.mints(), "freed slots go to what the grant still calls for")
	})
}

func TestTheSpillGoesToTheNextTemplate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		big := template.Template{Key: "big", Labels: []string{"big", "linux"}, Image: "img", CPU: 4, Memory: 1, MaxConcurrency: 10}
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) { c.Templates = []template.Template{big, small(2)} })
		defer w.stop()
		p.grant("r1", 5, "linux")
		w.after(5 * time.Second)
		kinds := map[string]int{}
		for _, r := range w.engine.Truth() {
			kinds[r.Spec.Labels[provisioner.LabelTemplate]]++
		}
		require.Equal(t, map[string]int{"small": 2, "big": 3}, kinds)
	})
}

func TestReadyAsSoonAsThereWasAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, newPlane())
		defer w.stop()
		before, err := provisioner.New(w.config)
		require.NoError(t, err)
		require.False(t, before.Health().Ready(), "nothing was asked yet")
		w.after(300 * time.Millisecond)
		require.True(t, w.loop.Health().Ready(), w.loop.Health().String())
		w.after(time.Hour)
		require.True(t, w.loop.Health().Ready(), "while polls wait for demand")
	})
}

func TestWarmFloors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := knowing{newPlane()}
		warm := small(10)
		warm.MinIdle = 3
		w := startWith(t, k.plane, k, func(c *provisioner.Config, e *memory.Config) {
			c.Templates = []template.Template{warm}
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{} }
		})
		defer w.stop()
		w.after(30 * time.Second)
		require.Equal(t, 3, w.live())
		k.know(provisioner.Fact{Runner: w.ids()[0], Registered: provisioner.Yes, Busy: provisioner.Yes, Job: "j"})
		w.after(30 * time.Second)
		require.Equal(t, 4, w.live(), "a busy runner is not an idle one: the floor is filled up again")
	})
}

func TestWithoutWarmMintingFloorsAreIgnoredWithOneWarning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		p.noWarm = true
		warm := small(10)
		warm.MinIdle = 3
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) { c.Templates = []template.Template{warm} })
		defer w.stop()
		w.after(10 * time.Minute)
		require.Zero(t, w.live())
		require.Equal(t, 1, strings.Count(w.log.String(), "no warm runners"))
	})
}

func TestTargetsCountRunnersThatEndedSinceTheLevelWasRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p)
		defer w.stop()
		p.push(provisioner.Demand{Targets: []provisioner.Target{{Template: "small", Count: 2}}})
		w.after(10 * time.Second)
		require.Equal(t, 2, w.live())
		w.after(2 * time.Minute) // they end; no newer level comes
		require.Equal(t, 2, p.mints(), "the jobs they ran are part of the level: no runner more")
		p.push(provisioner.Demand{Targets: []provisioner.Target{{Template: "small", Count: 1}}})
		w.after(10 * time.Second)
		require.Equal(t, 3, p.mints(), "a newer level counts anew")
	})
}

func TestScaleDownRetiresFirstAndOnlyTheRetired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := knowing{newPlane()}
		var stubborn string
		k.canRetire = func(id string) bool { return id != stubborn }
		w := startWith(t, k.plane, k, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{} }
		})
		defer w.stop()
		k.grant("r1", 3, "linux")
		w.after(5 * time.Second)
		ids := w.ids()
		require.Len(t, ids, 3)
		stubborn = ids[1]
		for _, id := range ids {
			k.know(provisioner.Fact{Runner: id, Registered: provisioner.Yes, Busy: provisioner.No})
		}
		w.after(3 * time.Minute)
		require.Equal(t, []string{stubborn}, w.ids(), "what can't be retired may be about to get a job")
		require.Equal(t, []string{"starting", "running", "stopping", "terminated"}, k.told(ids[0]))
	})
}

func TestRegistrationDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := knowing{newPlane()}
		w := startWith(t, k.plane, k, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{} }
		})
		defer w.stop()
		k.grant("r1", 2, "linux")
		w.after(5 * time.Second)
		ids := w.ids()
		k.know(provisioner.Fact{Runner: ids[0], Registered: provisioner.No, Busy: provisioner.No})
		w.after(10 * time.Minute)
		require.Equal(t, []string{ids[1]}, w.ids(), "known not to be registered: ended; unknown: kept")
		require.Contains(t, w.log.String(), "registration-deadline")
	})
}

func TestMaxLifetimeAndTerminateIntent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{} }
			c.MaxLifetime = 10 * time.Minute
		})
		defer w.stop()
		p.grant("r1", 2, "linux")
		w.after(5 * time.Second)
		ids := w.ids()
		p.push(provisioner.Demand{Facts: []provisioner.Fact{{Runner: ids[0], Unwanted: true, Reason: "job-cancelled"}}})
		w.after(5 * time.Second)
		require.Equal(t, ids[1:], w.ids())
		w.after(9*time.Minute + 30*time.Second)
		require.Equal(t, ids[1:], w.ids())
		w.after(time.Minute)
		require.Empty(t, w.ids())
		last := p.lastEvent()
		require.Equal(t, provisioner.EventTerminated, last.State)
		require.Equal(t, "max-lifetime", last.Reason)
	})
}

func TestAnOperatorEndsARunner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(_ *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{} }
		})
		defer w.stop()
		p.grant("r1", 2, "linux")
		w.after(5 * time.Second)
		ids := w.ids()
		p.push(provisioner.Demand{Facts: []provisioner.Fact{{Runner: ids[0], Registered: provisioner.Yes, Busy: provisioner.Yes}}})
		w.after(time.Second)
		require.Equal(t, ids[:1], w.loop.Terminate([]string{ids[0], "unknown"}, "drain-deadline"))
		w.after(5 * time.Second)
		require.Equal(t, ids[1:], w.ids(), "a busy one too, and no other")
		last := p.lastEvent()
		require.Equal(t, provisioner.EventTerminated, last.State)
		require.Equal(t, "drain-deadline", last.Reason)
	})
}

func TestAnOperatorRetiresWhatHasNoJob(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := knowing{newPlane()}
		w := startWith(t, k.plane, k, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{} }
			c.IdleTimeout = time.Hour
		})
		defer w.stop()
		k.grant("r1", 3, "linux")
		w.after(5 * time.Second)
		ids := w.ids()
		require.Len(t, ids, 3)
		busy, idle, unknown := ids[0], ids[1], ids[2]
		k.know(provisioner.Fact{Runner: busy, Registered: provisioner.Yes, Busy: provisioner.Yes})
		k.know(provisioner.Fact{Runner: idle, Registered: provisioner.Yes, Busy: provisioner.No})
		w.after(20 * time.Second)
		require.Equal(t, ids, w.loop.Retire(append(ids, "unknown"), "host-draining"))
		w.after(5 * time.Second)
		require.ElementsMatch(t, []string{busy, unknown}, w.ids(), "what has a job, or may have one, goes on")
		require.Equal(t, []string{idle}, k.retired)
		require.Equal(t, "host-draining", k.lastEvent().Reason)
		require.NotContains(t, w.log.String(), "backing off", "it was no crash")

		k.know(provisioner.Fact{Runner: unknown, Registered: provisioner.Yes, Busy: provisioner.No})
		w.after(20 * time.Second)
		require.Equal(t, []string{busy}, w.ids(), "the wish stays")
	})
}

func TestWithoutTemplatesNothingIsAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(c *provisioner.Config, _ *memory.Config) { c.Templates = nil })
		defer w.stop()
		w.after(time.Minute)
		p.mu.Lock()
		require.Empty(t, p.ads)
		p.mu.Unlock()
		require.NoError(t, w.loop.SetTemplates([]template.Template{{Key: "t", Labels: []string{"linux"}, MaxConcurrency: 1}}))
		p.grant("r1", 1, "linux")
		w.after(5 * time.Second)
		require.Len(t, w.ids(), 1)
	})
}

func TestCrashBackOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		warm := small(10)
		warm.MinIdle = 4
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
			c.Templates = []template.Template{warm}
			e.Behaviour = func(backend.Spec) memory.Program {
				return memory.Program{Start: 50 * time.Millisecond, Run: 200 * time.Millisecond, ExitCode: 1, Output: []string{"no such file"}}
			}
		})
		defer w.stop()
		w.after(time.Second)
		first := p.mints()
		require.Equal(t, 4, first, "before anything is known all are launched")
		require.Contains(t, w.loop.Health().Facet(provisioner.FacetLaunches).Reason, "after 1 failures", "a wave that fails as one counts as one")
		w.after(time.Hour)
		require.Less(t, p.mints()-first, 30, "an hour of crashes is a few dozen launches")
		require.Greater(t, p.mints()-first, 9, "it goes on probing")
		require.Contains(t, w.loop.Health().Facet(provisioner.FacetLaunches).Reason, "exit-code")
		require.True(t, w.loop.Health().Ready(), "one bad template does not make the loop unready")
		require.Contains(t, w.log.String(), "no such file", "the end of a failed runner's log is told")
	})
}

func TestACrashIsWeighedWhenTheFactsAreThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := knowing{newPlane()}
		w := startWith(t, k.plane, k, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{Run: 3 * time.Second} }
		})
		defer w.stop()
		k.grant("r1", 1, "linux")
		w.after(2 * time.Second)
		k.know(provisioner.Fact{Runner: w.ids()[0], Registered: provisioner.Yes, Busy: provisioner.No})
		w.after(10 * time.Second)
		require.Contains(t, w.loop.Health().Facet(provisioner.FacetLaunches).Reason, "no-job", "it ended at once and is known to have had no job")

		w.after(time.Minute)
		k.grant("r2", 1, "linux")
		w.after(2 * time.Second)
		require.Len(t, w.ids(), 1)
		k.know(provisioner.Fact{Runner: w.ids()[0], Registered: provisioner.Yes, Busy: provisioner.Yes, Job: "j"})
		w.after(15 * time.Second)
		require.Empty(t, w.loop.Health().Facet(provisioner.FacetLaunches).Reason, "a job that ran clears the count")
	})
}

func TestAnUncertainLaunchSpendsItsRegistration(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%v", applied), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPlane()
				n := 0
				w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
					e.Fault = func(call memory.Call) memory.Fault {
						if call.Op == memory.OpLaunch {
							if n++; n == 1 {
								return memory.Fault{Err: errors.New("connection reset"), Applied: applied}
							}
						}
						return memory.Fault{}
					}
				})
				defer w.stop()
				p.grant("r1", 1, "linux")
				w.after(5 * time.Second)
				require.Equal(t, 1, p.mints())
				w.after(10 * time.Minute)
				require.Equal(t, 1, p.mints(), "nothing is minted in its place")
				require.Empty(t, w.ids())
				id := p.mintedIDs()[0]
				if applied {
					require.Equal(t, []string{"starting", "running", "stopped"}, p.told(id))
				} else {
					require.Equal(t, []string{"failed"}, p.told(id))
				}
			})
		})
	}
}

func TestARestartAdopts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{Run: time.Minute} }
			c.Templates = []template.Template{small(4)}
		})
		p.grant("r1", 3, "linux")
		w.after(5 * time.Second)
		w.stop()
		require.Equal(t, 3, w.live(), "running runners are left alone")
		require.True(t, p.closed)
		w.run()
		w.after(5 * time.Second)
		last := p.lastAd()
		require.Equal(t, 1, last.Templates[0].Free, "adopted runners hold their slots")
		require.Equal(t, 3, last.Templates[0].Running)
		w.after(2 * time.Minute)
		require.Empty(t, w.ids())
		require.True(t, w.loop.Health().Facet(provisioner.FacetOwner).OK)
		w.stop()
	})
}

func TestDrainFinishesLaunchesUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
			e.Fault = func(call memory.Call) memory.Fault {
				if call.Op == memory.OpLaunch {
					return memory.Fault{Before: 10 * time.Second}
				}
				return memory.Fault{}
			}
		})
		p.grant("r1", 2, "linux")
		w.after(time.Second)
		began := time.Now()
		w.stop()
		require.Less(t, time.Since(began), 12*time.Second)
		require.Equal(t, 2, w.live())
		require.Equal(t, []string{"starting"}, p.told(w.ids()[0]), "reports are flushed")
	})
}

func TestPollsThatReturnAtOnceAreSpacedAndAFreedSlotEndsTheWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) { c.Templates = []template.Template{small(1)} })
		defer w.stop()
		p.grant("r1", 1, "linux")
		w.after(3 * time.Second)
		before := p.polls()
		w.after(15 * time.Second)
		require.Less(t, p.polls()-before, 8, "with nothing free each poll returns at once")
		p.grant("r2", 1, "linux")
		w.after(10 * time.Second) // the first runner has ended
		require.Equal(t, 2, p.mints())
	})
}

// A poll that we break off ourselves says nothing of the control plane: one that
// answers is well, however often that happens.
func TestPollsThatAreBrokenOffAreNoSilence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := start(t, newPlane())
		defer w.stop()
		other := template.Template{Key: "other", Labels: []string{"other"}, Image: "img", MaxConcurrency: 1}
		for i := range 60 {
			w.after(9 * time.Second)
			require.NoError(t, w.loop.SetTemplates([]template.Template{small(10), other}[:1+i%2]))
			require.True(t, w.loop.Health().Ready(), w.loop.Health().String())
		}
	})
}

func TestReportsAreBisectedSoThatABadOneTakesNoOtherWithIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		var bad string
		p.reportErr = func(events []provisioner.Event) error {
			for _, e := range events {
				if bad == "" {
					bad = e.Runner
				}
				if e.Runner == bad {
					return fmt.Errorf("400: %w", provisioner.ErrRejected)
				}
			}
			return nil
		}
		w := start(t, p)
		defer w.stop()
		p.grant("r1", 6, "linux")
		w.after(2 * time.Minute)
		require.Empty(t, w.ids())
		good := 0
		for _, id := range p.mintedIDs() {
			if id != bad {
				require.Contains(t, p.told(id), "stopped")
				good++
			}
		}
		require.Equal(t, 5, good)
	})
}

func TestASecondLoopWithOurOwner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, q := newPlane(), newPlane()
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{Run: 30 * time.Second} }
		})
		defer w.stop()
		w.after(5 * time.Second)
		rival := &world{t: t, plane: q, engine: w.engine, log: &bytes.Buffer{}, config: w.config}
		rival.config.ControlPlane, rival.config.Logger = q, nil
		rival.run()
		defer rival.stop()
		for i := range 6 {
			q.grant(fmt.Sprint("q", i), 1, "linux")
			w.after(20 * time.Second)
		}
		require.Equal(t, provisioner.ReasonOwnerConflict, w.loop.Health().Facet(provisioner.FacetOwner).Reason)
		p.grant("r1", 1, "linux")
		w.after(5 * time.Second)
		require.Zero(t, p.mints(), "nothing is launched while new ones keep coming")
		w.after(5 * time.Minute)
		require.True(t, w.loop.Health().Facet(provisioner.FacetOwner).OK, "it ends when the other one does")
	})
}

func TestAnUnauthorizedTokenComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		var revoked atomic.Bool
		revoked.Store(true)
		p.pollErr = func(int) error {
			if revoked.Load() {
				return provisioner.ErrUnauthorized
			}
			return nil
		}
		w := start(t, p)
		defer w.stop()
		w.after(10 * time.Minute)
		require.False(t, w.loop.Health().Ready())
		require.Less(t, p.polls(), 60, "with back-off")
		revoked.Store(false)
		p.grant("r1", 1, "linux")
		w.after(time.Minute)
		require.True(t, w.loop.Health().Ready())
		require.Equal(t, 1, p.mints())
	})
}

func TestAMintThatFailsIsTriedAgainWithNewIDs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		var asked []string
		p.mintErr = func(requests []provisioner.MintRequest) error {
			asked = append(asked, requests[0].Runner)
			if len(asked) == 1 {
				return errors.New("answer lost")
			}
			return nil
		}
		w := start(t, p)
		defer w.stop()
		p.grant("r1", 1, "linux")
		w.after(500 * time.Millisecond)
		require.Equal(t, provisioner.Facet{Name: provisioner.FacetLaunches, Reason: "mint: answer lost"}, w.loop.Health().Facet(provisioner.FacetLaunches))
		require.True(t, w.loop.State().Templates[0].Until.After(time.Now()), "it tells when it tries again")
		w.after(10 * time.Second)
		require.Len(t, asked, 2)
		require.True(t, w.loop.Health().Facet(provisioner.FacetLaunches).OK)
		require.NotEqual(t, asked[0], asked[1])
		require.Equal(t, 1, w.live())
	})
}

// unannounced is a control plane that answers no announcement, or refuses them all, and
// grants again what it heard to have failed.
type unannounced struct {
	*plane
	err error
}

func (u unannounced) Announce(_ context.Context, r provisioner.Ref) error {
	time.Sleep(10 * time.Millisecond) // a bubble's clock
	u.grant("again-"+r.ID, 1, "linux")
	return u.err
}

func TestAnAnnouncementThatFailsIsNotRepeatedForEver(t *testing.T) {
	for _, err := range []error{errors.New("answer lost"), provisioner.ErrRefused} {
		bubble(t, func(t *testing.T) {
			u := unannounced{newPlane(), err}
			w := startWith(t, u.plane, u)
			defer w.stop()
			u.grant("r1", 1, "linux")
			w.after(time.Minute)
			require.Less(t, u.mints(), 15)
			require.Greater(t, u.mints(), 4, "it is tried again")
			require.Equal(t, errors.Is(err, provisioner.ErrRefused), w.loop.Health().Facet(provisioner.FacetLaunches).OK, "a refusal is an answer")
		})
	}
}

// A control plane that wants runners for a target and can't mint for one is not asked
// on and on.
func TestATargetThatCantBeMintedForIsTriedSlowly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		calls := 0
		p.mintErr = func([]provisioner.MintRequest) error {
			calls++
			time.Sleep(5 * time.Millisecond) // a bubble's clock
			return fmt.Errorf("no warm ones here: %w", errors.ErrUnsupported)
		}
		w := start(t, p)
		defer w.stop()
		p.push(provisioner.Demand{Targets: []provisioner.Target{{Template: "small", Count: 1}}})
		w.after(time.Minute)
		require.Greater(t, calls, 2)
		require.Less(t, calls, 12)
		require.Contains(t, w.loop.Health().Facet(provisioner.FacetLaunches).Reason, "mint: no warm ones here")
	})
}

// hasty is a control plane whose level is another one whenever it is asked.
type hasty struct {
	*plane
	polls atomic.Int64
}

func (h *hasty) Poll(context.Context, provisioner.Advertisement) (provisioner.Demand, error) {
	time.Sleep(time.Millisecond) // a bubble's clock
	n := int(h.polls.Add(1))
	return provisioner.Demand{Targets: []provisioner.Target{{Template: "small", Count: -n}, {Template: "small", Count: n % 2}}}, nil
}

func TestAnswersThatAlwaysDifferAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := &hasty{plane: newPlane()}
		w := startWith(t, h.plane, h)
		defer w.stop()
		w.after(time.Minute)
		require.LessOrEqual(t, h.polls.Load(), int64(60*20+1))
		require.Positive(t, w.live())
	})
}

// What a control plane has the runners carry is never in the way of what the loop
// counts by when it begins anew.
func TestTheLoopsOwnLabelsWin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		p.labels = map[string]string{provisioner.LabelTemplate: "my-own-id", "plane": "its-own"}
		w := start(t, p, func(c *provisioner.Config, _ *memory.Config) { c.Templates = []template.Template{small(1)} })
		defer func() { w.stop() }()
		p.grant("r1", 1, "linux")
		w.after(5 * time.Second)
		w.stop()
		w.run()
		p.grant("r2", 1, "linux")
		w.after(5 * time.Second)
		require.Equal(t, 1, w.live())
		require.Equal(t, "its-own", w.engine.Truth()[0].Runner.Labels["plane"])
	})
}

func TestARegistrationNeverShowsItsSecret(t *testing.T) {
	r := provisioner.Registration{Runner: "r1", Env: map[string]string{"TOKEN": "canary"}, Command: []string{"canary"}}
	text, err := json.Marshal(map[string]any{"of": r, "at": &r})
	require.NoError(t, err)
	var log bytes.Buffer
	hclog.New(&hclog.LoggerOptions{Output: &log, JSONFormat: true}).Info("minted", "registration", r)
	all := string(text) + log.String() + fmt.Sprintf("%v %+v %#v %s %d %v", r, r, r, r, r, struct{ at *provisioner.Registration }{&r})
	require.NotContains(t, all, "canary")
	require.Contains(t, all, "registration of r1")
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	_, err := provisioner.New(provisioner.Config{Limits: provisioner.Limits{PollWait: -1}, Templates: []template.Template{{Key: "a", Labels: []string{"B"}}}})
	require.ErrorContains(t, err, "ControlPlane")
	require.ErrorContains(t, err, "Backend")
	require.ErrorContains(t, err, "PollWait")
	require.ErrorContains(t, err, "not canonical")
	require.ErrorContains(t, err, "MaxConcurrency")
}

func TestAHintBringsAListAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		w := start(t, p, func(c *provisioner.Config, e *memory.Config) {
			e.Behaviour = func(backend.Spec) memory.Program { return memory.Program{Start: time.Second, Run: 3 * time.Second} }
			c.ListInterval = time.Hour
		})
		defer w.stop()
		w.after(2 * time.Second)
		p.grant("r1", 1, "linux")
		w.after(5 * time.Second)
		require.Equal(t, []string{"starting", "running", "stopped"}, p.told(p.mintedIDs()[0]))
		require.Empty(t, w.engine.Truth())
	})
}

// blaming is a backend of many places that can tell them.
type blaming struct {
	backend.Backend
	mu      sync.Mutex
	crashed []string
	proved  []string
}

func (b *blaming) Crashed(id, _ string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.crashed = append(b.crashed, id)
	return true
}

func (b *blaming) Proved(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proved = append(b.proved, id)
}

func TestACrashIsHeldAgainstItsPlaceWhereThatIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlane()
		engine := memory.New(memory.Config{Behaviour: func(s backend.Spec) memory.Program { return memory.Program{Run: time.Minute} }})
		b := &blaming{Backend: engine.Backend("owner")}
		loop, err := provisioner.New(provisioner.Config{ControlPlane: p, Backend: b, Templates: []template.Template{small(10)}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- loop.Run(ctx) }()
		defer func() { cancel(); require.NoError(t, <-done) }()
		p.grant("r1", 2, "linux")
		time.Sleep(5 * time.Second)
		var ids []string
		for _, r := range engine.Truth() {
			ids = append(ids, r.Runner.ID)
		}
		require.Len(t, ids, 2)
		p.push(provisioner.Demand{Facts: []provisioner.Fact{{Runner: ids[0], Registered: provisioner.Yes, Busy: provisioner.Yes}}})
		require.True(t, engine.Exit(ids[1], 1))
		time.Sleep(5 * time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Equal(t, []string{ids[0]}, b.proved, "once")
		require.Equal(t, []string{ids[1]}, b.crashed)
		require.Zero(t, loop.State().Templates[0].Failures, "its template goes on")
	})
}

func TestWantOfRoomIsThePlacesToWaitFor(t *testing.T) {
	for name, tc := range map[string]struct {
		want  provisioner.Demand
		floor int
		tries int
	}{
		"a grant's are each tried":  {want: provisioner.Demand{Grants: []provisioner.Grant{{Reservation: "r1", Labels: []string{"linux"}, Count: 3, Lifetime: time.Minute}}}, tries: 3},
		"an idle floor's go slowly": {floor: 2, tries: 2 * 5},
		"a target's go slowly":      {want: provisioner.Demand{Targets: []provisioner.Target{{Template: "small", Count: 2}}}, tries: 2 * 5},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPlane()
				var tries atomic.Int64
				engine := memory.New(memory.Config{Fault: func(c memory.Call) memory.Fault {
					if c.Op == memory.OpLaunch {
						tries.Add(1)
						return memory.Fault{Before: 5 * time.Millisecond, Err: backend.ErrExhausted}
					}
					return memory.Fault{}
				}})
				one := small(10)
				one.MinIdle = tc.floor
				loop, err := provisioner.New(provisioner.Config{
					ControlPlane: p, Backend: &blaming{Backend: engine.Backend("owner")}, Templates: []template.Template{one},
				})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- loop.Run(ctx) }()
				defer func() { cancel(); require.NoError(t, <-done) }()
				p.push(tc.want)
				time.Sleep(5 * time.Second)
				require.EqualValues(t, tc.tries, tries.Load())
				require.Zero(t, loop.State().Templates[0].Failures)
			})
		})
	}
}
