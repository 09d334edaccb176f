package api_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/tokens"
)

// Whoever waits for a job is told what for, from the first scale set to the runner.
func TestAJobTellsWhyItWaits(t *testing.T) {
	w := newWorld(t)
	job := w.submit(api.JobSpec{Labels: []string{"linux", "small"}, Run: "x"})
	why := func() (told api.Waiting) {
		w.into(200, w.do("GET", "jobs/"+job.ID+"/why", nil), &told)
		return told
	}
	require.Equal(t, "no-scale-set", why().Code)
	w.problem(404, "not-found", w.do("GET", "jobs/nope/why", nil))
	add := func(name, more string) {
		t.Helper()
		body := `{"name": "` + name + `", "labels": ["linux", "` + name + `"], "image": "x", "cpu": 1, "memory": "1GiB", "max": 1` + more + `}`
		require.Equal(t, 201, w.do("POST", "scale-sets", body).status)
	}
	add("large", `, "hosts": []`)
	require.Contains(t, why().Text, "no scale set has the label small")
	add("other", `, "control_plane": "shipfox"`) // its jobs come from elsewhere
	host, enrolment := w.add("a")
	add("small", `, "hosts": ["a"]`)
	told := why()
	require.Equal(t, "hosts-away", told.Code)
	require.Len(t, told.ScaleSets, 1)
	require.Equal(t, "scale set small: host a: offline", told.Text)
	w.connect(host, enrolment)
	w.until("a", ready)
	require.Equal(t, "next", why().Code)
	w.launch("small")
	w.until("a", func(h api.Host) bool { return h.Runners == 1 })
	require.Equal(t, "scale set small: it has all of its runners: 1 of 1", why().Text)

	claim := w.claim("linux", "small")
	require.Equal(t, job.ID, claim.JobID)
	require.Equal(t, "none", why().Code)
}

// A scale set whose runners come to nothing holds its jobs up, though its host has
// room: they are told so with its status, and when the next one is tried.
func TestAJobOfAFailingScaleSetTellsWhy(t *testing.T) {
	secret := tokens.New(tokens.Bootstrap).Reveal()
	var failing atomic.Bool
	w := newWorld(t, func(c *api.Config) {
		c.Statuses = func(sets []scalesets.ScaleSet) []scalesets.Status {
			is := make([]scalesets.Status, len(sets))
			for i, set := range sets {
				is[i] = scalesets.Status{Condition: scalesets.Ready}
				if failing.Load() && set.Key == "bad" {
					is[i] = scalesets.Status{Condition: scalesets.Failing, Text: "3 runners in a row crashed " + secret, RetryAt: time.Now().Add(time.Hour - time.Millisecond)}
				}
			}
			return is
		}
	})
	host, enrolment := w.add("a")
	w.connect(host, enrolment)
	w.until("a", ready)
	for _, name := range []string{"bad", "other"} {
		body := `{"name": "` + name + `", "labels": ["linux", "` + name + `"], "image": "x", "cpu": 1, "memory": "1GiB", "max": 1, "hosts": ["a"]}`
		require.Equal(t, 201, w.do("POST", "scale-sets", body).status)
	}
	why := func(label string) (told api.Waiting) {
		job := w.submit(api.JobSpec{Labels: []string{label}, Run: "x"})
		w.into(200, w.do("GET", "jobs/"+job.ID+"/why", nil), &told)
		return told
	}
	require.Equal(t, "next", why("bad").Code)
	failing.Store(true)
	told := why("bad")
	require.Equal(t, "failing", told.Code)
	require.Regexp(t, `^scale set bad: 3 runners in a row crashed sf_…; tried again in (1h0m0s|59m\d+s)$`, told.Text)
	require.Equal(t, "failing", told.ScaleSets[0].Code)
	require.Equal(t, "next", why("other").Code)
	told = why("linux")
	require.Equal(t, "next", told.Code, "another can take it")
	require.Len(t, told.ScaleSets, 2)

	var set api.ScaleSet
	w.into(200, w.do("GET", "scale-sets/bad", nil), &set)
	require.WithinDuration(t, time.Now().Add(time.Hour), *set.Status.RetryAt, time.Minute)
	w.into(200, w.do("GET", "scale-sets/other", nil), &set)
	require.Nil(t, set.Status.RetryAt)
}

// failing is a fleet where the last launch failed.
type failing struct {
	api.Fleet
	at time.Time
}

func (f *failing) Explain(string) []fleet.Verdict {
	canary := tokens.New(tokens.EphemeralRegistration).Reveal()
	return []fleet.Verdict{{Host: "h1", Name: "a", Room: 1, LastFailure: "no such image " + canary, FailedAt: f.at}, {Host: "h2", Name: "b", Reason: "offline", RetryAt: f.at}}
}

// Page has a runner of which nobody knows when it was launched.
func (f *failing) Page(context.Context, fleet.RunnerFilter) ([]fleet.PlacedRunner, bool, error) {
	return []fleet.PlacedRunner{{Runner: backend.Runner{ID: "r", State: backend.Unknown, Host: "a"}, HostID: "h1"}}, false, nil
}

func TestTheTimeOfARunnerThatIsNotKnownIsNull(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Fleet = &failing{Fleet: c.Fleet} })
	var told struct{ Items []map[string]any }
	w.into(200, w.do("GET", "runners", nil), &told)
	require.Len(t, told.Items, 1)
	require.Contains(t, told.Items[0], "created_at")
	require.Nil(t, told.Items[0]["created_at"])
}

// The last failure of a launch is told, with its time, and with no token in it.
func TestPlacementTellsTheLastFailure(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := newWorld(t, func(c *api.Config) { c.Fleet = &failing{c.Fleet, at} })
	require.Equal(t, 201, w.do("POST", "scale-sets", `{"name": "s", "labels": ["a"], "image": "x", "cpu": 1, "memory": "1GiB", "max": 1}`).status)
	var told struct{ Items []api.Verdict }
	w.into(200, w.do("GET", "scale-sets/s/placement", nil), &told)
	require.Equal(t, []api.Verdict{
		{Host: "a", HostID: "h1", Eligible: true, LastFailure: "no such image sf_…", FailedAt: &at}, {Host: "b", HostID: "h2", Reason: "offline", RetryAt: &at},
	}, told.Items)
	job := w.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	var why api.Waiting
	w.into(200, w.do("GET", "jobs/"+job.ID+"/why", nil), &why)
	require.Contains(t, why.Text, "(no such image sf_…)")
}
