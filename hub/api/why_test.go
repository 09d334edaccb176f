package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/fleet"
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

// failing is a fleet where the last launch failed.
type failing struct {
	api.Fleet
	at time.Time
}

func (f *failing) Explain(string) []fleet.Verdict {
	canary := tokens.New(tokens.EphemeralRegistration).Reveal()
	return []fleet.Verdict{{Host: "h1", Name: "a", Room: 1, LastFailure: "no such image " + canary, FailedAt: f.at}, {Host: "h2", Name: "b", Reason: "offline"}}
}

// The last failure of a launch is told, with its time, and with no token in it.
func TestPlacementTellsTheLastFailure(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := newWorld(t, func(c *api.Config) { c.Fleet = &failing{c.Fleet, at} })
	require.Equal(t, 201, w.do("POST", "scale-sets", `{"name": "s", "labels": ["a"], "image": "x", "cpu": 1, "memory": "1GiB", "max": 1}`).status)
	var told struct{ Items []api.Verdict }
	w.into(200, w.do("GET", "scale-sets/s/placement", nil), &told)
	require.Equal(t, []api.Verdict{
		{Host: "a", HostID: "h1", Eligible: true, LastFailure: "no such image sf_…", FailedAt: &at}, {Host: "b", HostID: "h2", Reason: "offline"},
	}, told.Items)
	job := w.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	var why api.Waiting
	w.into(200, w.do("GET", "jobs/"+job.ID+"/why", nil), &why)
	require.Contains(t, why.Text, "(no such image sf_…)")
}
