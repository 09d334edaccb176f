package events_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/internal/crashtest"
)

// hubUntilKilled runs a hub with a job that crashes its runner and one that does not,
// and says which runner is which when the end of the one was told, and that the other
// runs.
func hubUntilKilled(dir string) {
	ctx := context.Background()
	c, err := openSite(ctx, dir)
	crashtest.Must(err)
	crashtest.Must(c.open())
	go func() { crashtest.Must(c.Run(ctx)) }()
	for _, name := range []string{"short", "long"} {
		_, err := c.CreateScaleSet(ctx, client.NamedScaleSet{Name: name, ScaleSetSpec: client.ScaleSetSpec{
			Labels: []string{name}, Image: "img", CPU: 1, Memory: 1 << 20, Max: 1, Hosts: []string{hosts.LocalName},
		}})
		crashtest.Must(err)
		_, err = c.Submit(ctx, client.JobSpec{Labels: []string{name}, Run: "true"}, "")
		crashtest.Must(err)
	}
	for {
		all, _, err := c.Events(ctx, client.EventFilter{Kinds: []string{"runner"}, Limit: 500})
		crashtest.Must(err)
		ended, runs := about(all, "runner-failed", "short"), about(all, "runner-started", "long")
		if ended != "" && runs != "" {
			crashtest.Say(ended, runs)
			select {}
		}
		<-time.After(20 * time.Millisecond)
	}
}

// about is the runner of the scale set that the first such event is about; empty: none is.
func about(all []client.Event, kind, set string) string {
	for _, e := range all {
		if e.Kind == kind && strings.Contains(e.Text, "of scale set "+set) {
			return strings.TrimPrefix(e.Object, "runner/")
		}
	}
	return ""
}

// A hub that is killed tells on its return how those runners ended that did meanwhile,
// and nothing again of those whose end it had told: they are there still, for a
// post-mortem.
func TestAnEndIsToldOnceThroughAKill(t *testing.T) {
	dir := storetest.Dir(t)
	engine := runHost(t, dir, memory.Config{Behaviour: func(s backend.Spec) memory.Program {
		if s.Labels["template"] == "short" {
			return memory.Program{Instant: true, ExitCode: 3}
		}
		return memory.Program{}
	}})
	runners := strings.Fields(crashtest.Kill(t, dir, 1)[0])
	before, meanwhile := runners[0], runners[1]
	require.NoError(t, os.Remove(dir+".address"))
	require.True(t, engine.Exit(meanwhile, 7))
	c := runSite(t, dir)
	eventually := func(what string, is func() bool) {
		t.Helper()
		require.Eventually(t, is, time.Minute, 20*time.Millisecond, what)
	}
	eventually("its loop has begun", func() bool { return c.lists(t.Context()) })
	require.NoError(t, c.open())

	events := func(kinds ...string) []client.Event {
		all, _, err := c.Events(t.Context(), client.EventFilter{Kinds: kinds, Limit: 500})
		require.NoError(t, err)
		return all
	}
	eventually("it ended while there was no hub", func() bool {
		return slices.ContainsFunc(events("runner-failed"), func(e client.Event) bool {
			return e.Object == "runner/"+meanwhile && strings.HasPrefix(e.Text, "ended with exit code 7")
		})
	})
	eventually("what was told is seen anew", func() bool {
		shown, err := c.Runner(t.Context(), before)
		return err == nil && shown.State == "failed"
	})
	_, err := c.CordonHost(t.Context(), hosts.LocalName)
	require.NoError(t, err)
	eventually("all is stored that was told until now", func() bool { return len(events("host-cordoned")) == 1 })
	told := map[string]int{}
	for _, e := range events("runner-failed", "runner-exited", "runner-removed") {
		told[e.Object]++
		require.Equal(t, 1, told[e.Object], "%s: %s", e.Object, e.Text)
	}
	require.Contains(t, told, "runner/"+before)
}
