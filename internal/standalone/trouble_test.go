package standalone

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/internal/enginetest"
	"github.com/slipway-ci/slipway/internal/standalone/foxtest"
)

// three is a template whose image exits at once, one whose runner never introduces
// itself, and a good one.
func three() string {
	text := strings.Builder{}
	text.WriteString("templates:\n")
	for key, command := range map[string]string{"crash": "exit 3", "silent": "sleep 600", "good": "trap 'exit 0' TERM; while :; do sleep 0.1; done"} {
		fmt.Fprintf(&text, "  %s:\n    labels: [%s]\n    image: %s\n    pull_policy: never\n    entrypoint: [/bin/sh, -c, %q]\n    cpu: 0.5\n    memory: 64m\n    max_concurrency: 2\n",
			key, key, enginetest.Image, command)
	}
	return text.String()
}

// trouble is a program over an engine on which two of three templates are no good.
type trouble struct {
	*dock
	generation string
	program    *started
	heard      *listener

	mu     sync.Mutex
	starts map[string][]startOf // by template
	gone   map[string]time.Time // by container
}

// startOf is a container that the engine has started, and when, by its clock.
type startOf struct {
	container, runner string
	at                time.Time
}

func newTrouble(t *testing.T, generation string) *trouble {
	tr := &trouble{dock: newDock(t, generation, templates(t, three())), generation: generation, starts: map[string][]startOf{}, gone: map[string]time.Time{}}
	tr.heard = newListener(t, tr.world.Hub.URL())
	tr.env = with(tr.env, "SHIPFOX_API_URL", tr.heard.URL, "SHIPFOX_RUNNER_API_URL", tr.world.Hub.URL(), "SHIPFOX_PROVISIONER_REGISTRATION_DEADLINE_MS", "10000", haste, "1")
	tr.follow()
	tr.program = startProgram(t, os.Args[0], tr.env)
	return tr
}

// follow notes what the engine starts and removes.
func (tr *trouble) follow() {
	ctx, cancel := context.WithCancel(tr.ctx())
	messages, _ := tr.engine.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("event", string(events.ActionStart)), filters.Arg("event", string(events.ActionDestroy)),
		filters.Arg("label", "shipfox.provisioner_id="+tr.owner))})
	var following sync.WaitGroup
	following.Go(func() {
		for {
			select {
			case m := <-messages:
				labels := m.Actor.Attributes
				tr.mu.Lock()
				if key, at := labels["shipfox.template_key"], time.Unix(0, m.TimeNano); m.Action == events.ActionDestroy {
					tr.gone[m.Actor.ID] = at
				} else {
					tr.starts[key] = append(tr.starts[key], startOf{m.Actor.ID, labels[idLabel(tr.generation)], at})
				}
				tr.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	tr.t.Cleanup(func() {
		cancel()
		following.Wait()
	})
}

// started waits until the engine has started n containers of a template.
func (tr *trouble) started(key string, n int) []startOf {
	tr.t.Helper()
	var all []startOf
	eventually(tr.t, 2*patience, func() string {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if all = append(all[:0], tr.starts[key]...); len(all) < n {
			return fmt.Sprintf("%s: %d of %d containers of %s were started", tr.generation, len(all), n, key)
		}
		return ""
	})
	return all
}

// serve has a job for the good template done, in the runner's stead.
func (tr *trouble) serve(nth int) {
	tr.t.Helper()
	tr.world.Submit(tr.t, 1, "true", "good")
	one := tr.started("good", nth)[nth-1]
	full, err := tr.engine.ContainerInspect(tr.ctx(), one.container)
	require.NoError(tr.t, err)
	env := map[string]string{}
	for _, entry := range full.Config.Env {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	r, err := foxtest.Introduce(tr.ctx(), env)
	require.NoError(tr.t, err)
	lease, err := r.Take(tr.ctx())
	require.NoError(tr.t, err)
	require.NotNil(tr.t, lease, "the runner finds the job that it was launched for")
	require.NoError(tr.t, lease.Finish(tr.ctx(), 0))
	require.NoError(tr.t, tr.engine.ContainerKill(tr.ctx(), one.container, "TERM"))
	require.Equal(tr.t, nth, tr.world.Count(tr.t)[queue.StateSucceeded])
}

// A template whose image exits at once is relaunched at growing intervals, and says
// why; one that never registers is ended at its deadline, and reported; the third
// template never notices. In each generation of the API.
func TestTroubleStaysWithItsTemplate(t *testing.T) {
	enginetest.BusyboxImage(t)
	var all []*trouble
	for _, generation := range generationNames { // side by side: mostly they wait
		tr := newTrouble(t, generation)
		tr.program.ready()
		tr.program.says(`"generation":"` + generation + `"`)
		tr.world.Submit(t, 1, "true", "crash")
		tr.world.Submit(t, 1, "true", "silent")
		all = append(all, tr)
	}
	for n := 1; n <= 2; n++ {
		for _, tr := range all {
			tr.serve(n)
		}
	}
	for _, tr := range all {
		// Waits of 1, 2 and 4 s, less a fifth, once the first ends were weighed.
		longest := time.Duration(0)
		for n := 2; longest < 3200*time.Millisecond; n++ {
			require.LessOrEqual(t, n, 9, "%s: it is launched again and again, after %s at most", tr.generation, longest)
			crashes := tr.started("crash", n)
			longest = max(longest, crashes[n-1].at.Sub(crashes[n-2].at))
		}
		eventually(t, patience, func() string {
			for _, one := range tr.program.state(t).State.Templates {
				if one.Key == "crash" && (one.Failures < 2 || !strings.Contains(one.FailureReason, "exit-code: 3")) {
					return fmt.Sprintf("%s: it says %d failures, %q", tr.generation, one.Failures, one.FailureReason)
				}
				require.False(t, one.Key == "good" && one.Failures > 0, one.FailureReason)
			}
			return ""
		})
		tr.program.says("backing off")

		silent := tr.started("silent", 1)[0]
		var lived time.Duration
		eventually(t, 2*patience, func() string {
			told := tr.heard.of(silent.runner)
			tr.mu.Lock()
			at, gone := tr.gone[silent.container]
			tr.mu.Unlock()
			if len(told) == 0 || told[len(told)-1] != "terminated registration-deadline" || !gone {
				return fmt.Sprintf("%s: the silent one was told as %q, gone: %v", tr.generation, told, gone)
			}
			lived = at.Sub(madeAt(t, silent.runner))
			return ""
		})
		require.Contains(t, tr.heard.of(silent.runner), "stopping registration-deadline", "fenced before")
		require.GreaterOrEqual(t, lived, 12*time.Second, "%s: its deadline, and no sooner", tr.generation)
		tr.started("silent", 2) // another try of its job
		tr.serve(3)
	}
}

// madeAt is the time in a runner's id (RFC 9562, section 5.7).
func madeAt(t *testing.T, runner string) time.Time {
	id, err := uuid.Parse(runner)
	require.NoError(t, err)
	return time.Unix(id.Time().UnixTime())
}
