package waiting_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api/waiting"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/queue"
)

// set is a scale set with a host for each reason.
func set(name string, runners, most int, labels []string, reasons ...string) waiting.Set {
	s := waiting.Set{Name: name, Labels: labels, Runners: runners, Max: most}
	for i, reason := range reasons {
		s.Hosts = append(s.Hosts, fleet.Verdict{Name: fmt.Sprintf("h%d", i+1), Reason: reason})
	}
	return s
}

func TestWhyAQueuedJobWaits(t *testing.T) {
	linux := []string{"linux"}
	big := []string{"big", "linux"}
	for name, c := range map[string]struct {
		labels     []string
		hub        waiting.Hub
		code, text string
	}{
		"nothing there":      {linux, waiting.Hub{}, "no-scale-set", "there is no scale set"},
		"a label of nobody":  {[]string{"arm", "linux", "mac"}, waiting.Hub{Sets: []waiting.Set{set("a", 0, 1, linux, "")}}, "no-scale-set", "no scale set has the label arm, nor one mac"},
		"not all of them":    {[]string{"big", "linux"}, waiting.Hub{Sets: []waiting.Set{set("a", 0, 1, linux, ""), set("b", 0, 1, []string{"big"}, "")}}, "no-scale-set", "no scale set has all of the labels big,linux"},
		"others might":       {[]string{"arm"}, waiting.Hub{Others: 1, Sets: []waiting.Set{set("a", 0, 1, linux, "")}}, "no-scale-set", "no scale set has the label arm, and no provisioner outside of the hub has asked for it"},
		"the disk":           {linux, waiting.Hub{Full: true, Sets: []waiting.Set{set("a", 0, 1, linux, "")}}, "storage-full", "the hub's disk is too full: nothing is given to runners until there is room"},
		"the loop":           {linux, waiting.Hub{Trouble: "poll: refused", Sets: []waiting.Set{set("a", 0, 1, linux, "")}}, "not-taken", "the hub takes no jobs for its scale sets now: poll: refused"},
		"room":               {linux, waiting.Hub{Queued: 5, Sets: []waiting.Set{set("a", 0, 1, linux, "offline", "")}}, "next", "scale set a: it has room: a runner comes (jobs that wait in all: 5)"},
		"its most":           {linux, waiting.Hub{Sets: []waiting.Set{set("a", 3, 3, linux, "")}}, "full", "scale set a: it has all of its runners: 3 of 3"},
		"no hosts":           {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux)}}, "no-host", "scale set a: the hub has no hosts"},
		"no host targeted":   {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux, "not targeted", "not targeted")}}, "no-host", "scale set a: it targets none of the hub's hosts"},
		"offline":            {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux, "not targeted", "offline")}}, "hosts-away", "scale set a: host h2: offline"},
		"away in many ways":  {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux, "offline", "offline", "cordoned", "blind: no engine", "not ready")}}, "hosts-away", "scale set a: 2 hosts: offline, host h3: cordoned, host h4: blind (no engine), and more"},
		"full before away":   {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux, "offline", "full: 4 of 4 runners")}}, "full", "scale set a: host h2: full (4 of 4 runners), host h1: offline"},
		"failing":            {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux, "backing off: no such image", "backing off: no such image")}}, "backing-off", "scale set a: 2 hosts: backing off (no such image)"},
		"its runners crash":  {linux, waiting.Hub{Sets: []waiting.Set{{Name: "a", Labels: linux, Max: 3, Failing: "3 runners in a row crashed", Hosts: []fleet.Verdict{{Name: "h1"}}}}}, "failing", "scale set a: 3 runners in a row crashed"},
		"unsuitable":         {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux, "of another platform: linux/arm64, and amd64 is asked for")}}, "no-host", "scale set a: host h1: of another platform (linux/arm64, and amd64 is asked for)"},
		"the best of them":   {linux, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, linux, "offline"), set("b", 2, 2, big, ""), set("c", 0, 1, []string{"mac"}, "")}}, "full", "scale set b: it has all of its runners: 2 of 2; a: host h1: offline"},
		"one of them is all": {linux, waiting.Hub{Queued: 1, Sets: []waiting.Set{set("a", 3, 3, linux, ""), set("b", 1, 2, big, "")}}, "next", "scale set b: it has room: a runner comes (jobs that wait in all: 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := waiting.Explain(waiting.Job{State: queue.StateQueued, Labels: c.labels}, c.hub)
			require.Equal(t, c.code, w.Code)
			require.Equal(t, c.text, w.Text)
			require.Equal(t, "queued", w.Status)
			require.NotNil(t, w.ScaleSets)
		})
	}
}

func TestEachScaleSetIsTold(t *testing.T) {
	linux := []string{"linux"}
	w := waiting.Explain(waiting.Job{State: queue.StateQueued, Labels: linux}, waiting.Hub{Sets: []waiting.Set{
		set("z", 2, 2, linux, ""), set("other", 0, 1, []string{"mac"}, ""), set("a", 0, 3, linux, "offline"),
	}})
	require.Equal(t, []client.WaitingOnSet{
		{Name: "a", Runners: 0, Max: 3, Code: "hosts-away", Text: "host h1: offline"},
		{Name: "z", Runners: 2, Max: 2, Code: "full", Text: "it has all of its runners: 2 of 2"},
	}, w.ScaleSets)
}

// A host may try again, and what it failed with is what people look for.
func TestALaunchThatFailedIsTold(t *testing.T) {
	s := set("a", 0, 1, []string{"linux"}, "")
	s.Hosts[0].LastFailure = "no such image"
	w := waiting.Explain(waiting.Job{State: queue.StateQueued, Labels: s.Labels}, waiting.Hub{Queued: 1, Sets: []waiting.Set{s}})
	require.Equal(t, "scale set a: host h1 has room, and the last launch there failed (no such image): a runner comes (jobs that wait in all: 1)", w.Text)
}

// Who waits after failures is told how long; who waits for room is not.
func TestHowLongAFailureIsWaitedForIsTold(t *testing.T) {
	for reason, text := range map[string]string{
		"backing off: no such image": "scale set a: host h1: backing off (no such image); tried again in 12s",
		"full: 1 of 1 runner":        "scale set a: host h1: full (1 of 1 runner)",
	} {
		s := set("a", 0, 1, []string{"linux"}, reason)
		s.RetryIn = 11100 * time.Millisecond
		require.Equal(t, text, waiting.Explain(waiting.Job{State: queue.StateQueued, Labels: s.Labels}, waiting.Hub{Sets: []waiting.Set{s}}).Text)
	}
}

// A promise leads to no runner where the hub's own loop has to wait.
func TestAPromiseThatIsStuckIsTold(t *testing.T) {
	job := waiting.Job{State: queue.StateReserved, Labels: []string{"linux"}}
	w := waiting.Explain(job, waiting.Hub{Sets: []waiting.Set{set("a", 0, 3, job.Labels, "backing off: refused")}})
	require.Equal(t, "backing-off", w.Code)
	require.Equal(t, "it is promised to a provisioner; scale set a: host h1: backing off (refused)", w.Text)
	require.Len(t, w.ScaleSets, 1)
	for _, hub := range []waiting.Hub{{}, {Sets: []waiting.Set{set("a", 0, 3, job.Labels, "")}}} {
		require.Equal(t, "reserved", waiting.Explain(job, hub).Code)
	}
}

func TestJobsThatAreGivenAwayWaitForTheirRunner(t *testing.T) {
	for state, code := range map[queue.State]string{
		queue.StateReserved: "reserved", queue.StateLaunched: "starting", queue.StateRunning: "none", queue.StateSucceeded: "none", queue.StateRunnerLost: "none",
	} {
		w := waiting.Explain(waiting.Job{State: state, Runner: "r1"}, waiting.Hub{})
		require.Equal(t, code, w.Code, state)
		require.Equal(t, code == "none", w.Text == "", state)
	}
}
