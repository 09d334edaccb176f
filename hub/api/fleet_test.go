package api_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/provisioner"
)

func (w *world) host(name string) (h api.Host) {
	w.t.Helper()
	w.into(200, w.do("GET", "hosts/"+name, nil), &h)
	return h
}

// until waits for a host to be as it should.
func (w *world) until(name string, good func(api.Host) bool) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return good(w.host(name)) }, 30*time.Second, 10*time.Millisecond)
}

func ready(h api.Host) bool { return h.Online && h.Ready }

// launch has the fleet start a runner of a scale set, as a loop would.
func (w *world) launch(scaleSet string) string {
	w.t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	require.NoError(w.t, w.fleet.Launch(w.t.Context(), backend.Spec{ID: id, Image: "x", Labels: map[string]string{provisioner.LabelTemplate: scaleSet}}))
	return id
}

func (w *world) runners(query string) (ids []string, next string) {
	w.t.Helper()
	var page struct {
		Items []api.Runner
		Next  *string
	}
	w.into(200, w.do("GET", "runners?"+query, nil), &page)
	for _, r := range page.Items {
		ids = append(ids, r.ID)
	}
	if page.Next != nil {
		next = *page.Next
	}
	return ids, next
}

// asked notes what the API asks of the fleet.
type asked struct {
	api.Fleet
	pages []fleet.RunnerFilter
	hosts int // looks at all of them
}

func (a *asked) Hosts() []fleet.HostState {
	a.hosts++
	return a.Fleet.Hosts()
}

func (a *asked) Page(ctx context.Context, f fleet.RunnerFilter) ([]fleet.PlacedRunner, bool, error) {
	a.pages = append(a.pages, f)
	return a.Fleet.Page(ctx, f)
}

// Why: with 20,000 runners a look at all of them costs 10 ms and 11 MB each time. One
// runner is one look, and a page is cut where the runners are.
func TestOneRunnerOrPageIsNoListOfTheFleet(t *testing.T) {
	var seen *asked
	w := newWorld(t, func(c *api.Config) {
		seen = &asked{Fleet: c.Fleet}
		c.Fleet = seen
	})
	host, enrolment := w.add("a")
	w.connect(host, enrolment)
	w.until("a", ready)
	first := w.launch("linux")
	w.launch("linux")
	require.Eventually(t, func() bool {
		var r api.Runner
		w.into(200, w.do("GET", "runners/"+first, nil), &r)
		return r.State == "running"
	}, 20*time.Second, 10*time.Millisecond)
	newest, next := w.runners("host=a&scale_set=linux&limit=1")
	require.Len(t, newest, 1)
	ids, _ := w.runners("host=a&scale_set=linux&limit=1&state=running&cursor=" + next)
	require.Equal(t, []string{first}, ids)
	require.Equal(t, []fleet.RunnerFilter{
		{Host: host.ID, Template: "linux", Limit: 1}, {Host: host.ID, Template: "linux", Limit: 1, State: backend.Running, Before: newest[0]},
	}, seen.pages)
	seen.hosts = 0
	for _, path := range []string{"runners/" + first, "runners/" + first + "/logs", "hosts/a"} {
		require.Equal(t, 200, w.do("GET", path, nil).status, path)
	}
	require.Equal(t, 202, w.do("POST", "runners/"+first+"/stop", nil).status)
	require.Len(t, seen.pages, 2)
	require.Equal(t, 200, w.do("POST", "hosts/a/cordon", nil).status)
	require.Zero(t, seen.hosts, "one host is one look, too")
	require.Equal(t, 200, w.do("GET", "hosts", nil).status)
	require.Equal(t, 1, seen.hosts)
}

// From nothing to a runner, through the hub's API, its registries, its fleet and a
// real agent, and back.
func TestAHostsLife(t *testing.T) {
	w := newWorld(t)
	host, enrolment := w.add("a")
	require.Contains(t, w.host("a").Problem, "not-enrolled")
	m := w.connect(host, enrolment)
	w.until("a", ready)
	shown := w.host("a")
	require.Equal(t, []any{"linux", "amd64", 4, int64(8 << 30), 4, true}, []any{shown.OS, shown.Arch, shown.CPUs, shown.MemoryBytes, shown.Cap, shown.Enrolled})
	require.NotNil(t, shown.Since)
	require.Equal(t, "0.0.1", shown.AgentVersion)
	w.problem(409, "host-in-use", w.do("DELETE", "hosts/a", nil))

	epoch := w.fleet.Hosts()[0].Epoch
	require.Equal(t, 200, w.do("POST", "hosts/a/rotate-token", nil).status)
	require.Eventually(t, func() bool { st := w.fleet.Hosts()[0]; return st.Epoch > epoch && st.Ready }, 20*time.Second, 10*time.Millisecond,
		"the agent comes again, with its new token")

	first, second, other := w.launch("linux"), w.launch("linux"), w.launch("arm")
	w.until("a", func(h api.Host) bool { return h.Runners == 3 })
	ids, next := w.runners("limit=2")
	require.Equal(t, []string{other, second}, ids, "the newest first")
	ids, next = w.runners("limit=2&cursor=" + next)
	require.Equal(t, []string{first}, ids)
	require.Empty(t, next)
	for query, want := range map[string]int{
		"scale_set=linux": 2, "host=a": 3, "host=" + host.ID: 3, "scale_set=arm&host=a": 1, "state=exited": 0,
	} {
		ids, _ := w.runners(query)
		require.Len(t, ids, want, query)
	}
	var r api.Runner
	require.Eventually(t, func() bool {
		w.into(200, w.do("GET", "runners/"+first, nil), &r)
		return r.State == "running"
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, "linux", r.ScaleSet)
	require.Equal(t, "a", r.Host)
	require.Equal(t, host.ID, r.HostID)
	require.Empty(t, r.Job)
	require.NotNil(t, r.StartedAt)
	w.problem(404, "not-found", w.do("GET", "runners/nope", nil))
	w.problem(404, "not-found", w.do("POST", "runners/nope/stop", nil))
	w.problem(404, "not-found", w.do("GET", "runners/nope/logs", nil))
	a := w.do("GET", "runners/"+first+"/logs?tail=10", nil)
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "text/plain; charset=utf-8", a.header.Get("Content-Type"))

	w.into(http.StatusAccepted, w.do("POST", "runners/"+first+"/stop", nil), &r)
	require.Equal(t, []string{first}, w.loop.ended())
	require.True(t, m.engine.Exit(second, 0))
	require.Eventually(t, func() bool { ids, _ := w.runners("state=exited"); return len(ids) == 1 }, 20*time.Second, 10*time.Millisecond)
	w.into(http.StatusAccepted, w.do("POST", "runners/"+second+"/stop", nil), &r)
	require.Equal(t, []string{first}, w.loop.ended(), "what has ended is not ended again")
	require.Equal(t, "it had ended already", w.audit("action=stop-runner&object=runner/" + second)[0].Detail)

	m.stop()
	w.until("a", func(h api.Host) bool { return !h.Online })
	w.problem(409, "host-offline", w.do("GET", "runners/"+first+"/logs", nil))
	w.into(200, w.do("GET", "runners/"+first, nil), &r)
	require.Equal(t, "unknown", r.State, "what can't be asked now is not gone")
	p := w.problem(409, "host-in-use", w.do("DELETE", "hosts/a", nil))
	require.Contains(t, p.Detail, "runners")
	require.NotContains(t, p.Detail, "hosts:")
	require.Equal(t, 204, w.do("DELETE", "hosts/a?force=true", nil).status)
	ids, _ = w.runners("")
	require.Empty(t, ids)

	var kinds []string
	var page struct{ Items []api.Event }
	require.Eventually(t, func() bool {
		w.into(200, w.do("GET", "events?object=host/a", nil), &page)
		kinds = nil
		for _, e := range page.Items {
			kinds = append(kinds, e.Kind)
		}
		return len(kinds) > 0 && kinds[len(kinds)-1] == "host-removed"
	}, 30*time.Second, 10*time.Millisecond)
	require.Subset(t, kinds, []string{"host-added", "host-online", "host-offline", "host-removed"})
}

// Which job a runner has is the queue's to say.
func TestARunnersJob(t *testing.T) {
	w := newWorld(t)
	host, enrolment := w.add("a")
	w.connect(host, enrolment)
	w.until("a", ready)
	job := w.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	id := w.launch("linux")
	w.claimAs(id, "a")
	var r api.Runner
	w.into(200, w.do("GET", "runners/"+id, nil), &r)
	require.Equal(t, job.ID, r.Job)
	idle := w.launch("linux")
	w.into(200, w.do("GET", "runners/"+idle, nil), &r)
	require.Empty(t, r.Job)
}

// The client of this repository and the API are one: every call of it works.
func TestTheClientSpeaksThisAPI(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c, err := client.New(client.Config{URL: w.server.URL, Token: w.token, HTTP: w.client})
	require.NoError(t, err)
	me, err := c.Whoami(ctx)
	require.NoError(t, err)
	require.Equal(t, client.Identity{TokenID: me.TokenID, Kind: "admin", Name: "first admin", Role: "admin"}, me)

	made, err := c.AddHost(ctx, client.HostSpec{Name: "a", Labels: map[string]string{"zone": "b"}})
	require.NoError(t, err)
	_, err = c.AddHost(ctx, client.HostSpec{Name: "a"})
	require.ErrorIs(t, err, client.ErrConflict)
	four := 4
	h, err := c.EditHost(ctx, "a", made.Version, client.HostEdit{MaxRunners: &four})
	require.NoError(t, err)
	require.Equal(t, 4, h.MaxRunners)
	_, err = c.EditHost(ctx, "a", made.Version, client.HostEdit{MaxRunners: &four})
	require.ErrorIs(t, err, client.ErrStale)
	hosts, _, err := c.Hosts(ctx, client.HostFilter{Selector: map[string]string{"zone": "b"}})
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	for _, deed := range []func() (client.Host, error){
		func() (client.Host, error) { return c.CordonHost(ctx, "a") }, func() (client.Host, error) { return c.UncordonHost(ctx, "a") },
		func() (client.Host, error) { return c.DrainHost(ctx, "a", client.DrainSpec{}) }, func() (client.Host, error) { return c.RevokeHost(ctx, "a") },
	} {
		_, err := deed()
		require.NoError(t, err)
	}
	_, err = c.RotateHostToken(ctx, "a")
	require.ErrorIs(t, err, client.ErrConflict)
	again, err := c.ReenrolHost(ctx, "a", client.ReenrolSpec{})
	require.NoError(t, err)
	invited, _, err := c.Enrolments(ctx, 0, "")
	require.NoError(t, err)
	require.Len(t, invited, 1)
	require.NoError(t, c.CancelEnrolment(ctx, again.Enrolment.ID))

	set, err := c.CreateScaleSet(ctx, client.NamedScaleSet{Name: "linux", ScaleSetSpec: client.ScaleSetSpec{
		Labels: []string{"linux"}, Image: "x", CPU: 1, Memory: "1GiB", Max: 2, Hosts: []string{"a"},
	}})
	require.NoError(t, err)
	spec := set.ScaleSetSpec
	spec.Max = 3
	_, err = c.PutScaleSet(ctx, "linux", set.Version, spec)
	require.NoError(t, err)
	_, err = c.PutScaleSet(ctx, "linux", set.Version, spec)
	require.ErrorIs(t, err, client.ErrStale)
	verdicts, err := c.Placement(ctx, "linux")
	require.NoError(t, err)
	require.Len(t, verdicts, 1)
	file, err := c.Export(ctx)
	require.NoError(t, err)
	diff, err := c.Apply(ctx, file, client.ApplyOptions{DryRun: true, Prune: true})
	require.NoError(t, err)
	require.Empty(t, diff.Changes)
	_, err = c.Apply(ctx, file, client.ApplyOptions{Revision: diff.Revision})
	require.NoError(t, err)
	_, err = c.Apply(ctx, file, client.ApplyOptions{Revision: diff.Revision + 1})
	require.ErrorIs(t, err, client.ErrStale)
	_, err = c.SetCredential(ctx, "r", client.CredentialSpec{Registry: "ghcr.io", Username: "u", Password: "p"})
	require.NoError(t, err)
	require.NoError(t, c.DeleteCredential(ctx, "r"))
	require.NoError(t, c.DeleteScaleSet(ctx, "linux", 0))

	audit, _, err := c.Audit(ctx, client.AuditFilter{Object: "scale-set/linux"})
	require.NoError(t, err)
	require.Len(t, audit, 4)
	stop := http.ErrServerClosed // any error
	var seen []client.Event
	err = c.FollowEvents(ctx, client.EventFilter{}, func(e client.Event) error {
		seen = append(seen, e)
		if e.Kind == "scale-set-deleted" {
			return stop
		}
		return nil
	})
	require.ErrorIs(t, err, stop)
	require.Equal(t, "host-added", seen[0].Kind)
	require.NoError(t, c.RemoveHost(ctx, "a", false))
	_, err = c.Host(ctx, "a")
	require.ErrorIs(t, err, client.ErrNotFound)
}
