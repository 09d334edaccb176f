package api_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/tokens"
)

func TestHosts(t *testing.T) {
	w := newWorld(t)
	var made api.NewHost
	a := w.do("POST", "hosts", api.HostSpec{Name: "builder-01", Labels: map[string]string{"zone": "a"}, MaxRunners: 3, Isolated: true, TTLSeconds: 60})
	w.into(201, a, &made)
	require.Equal(t, `"1"`, a.header.Get("ETag"))
	require.Equal(t, "no-store", a.header.Get("Cache-Control"))
	require.Equal(t, tokens.Enrolment, w.enrolmentOf(made.Enrolment.Line).Kind())
	require.WithinDuration(t, time.Now().Add(time.Minute), made.Enrolment.ExpiresAt, 30*time.Second)
	require.Equal(t, map[string]string{"zone": "a"}, made.Labels)
	require.Equal(t, 3, made.Cap)
	require.False(t, made.Enrolled)
	require.True(t, strings.HasPrefix(made.Problem, "not-enrolled"), made.Problem)
	w.problem(409, "name-taken", w.do("POST", "hosts", api.HostSpec{Name: "builder-01"}))

	var shown api.Host
	for _, name := range []string{"builder-01", made.ID} {
		a := w.do("GET", "hosts/"+name, nil)
		w.into(200, a, &shown)
		require.Equal(t, made.ID, shown.ID)
		require.Equal(t, `"1"`, a.header.Get("ETag"))
		for _, null := range []string{`"since":null`, `"drain_deadline":null`, `"last_seen_at":null`, `"backing_off":[]`, `"gpus":[]`, `"runtimes":[]`} {
			require.Contains(t, a.body, null)
		}
	}

	a = w.do("GET", "enrolments", nil)
	require.Contains(t, a.body, made.Enrolment.ID)
	require.NotContains(t, a.body, "sf_het", "the secret is told once")
	require.NotContains(t, w.do("GET", "hosts", nil).body, "sf_het")
	require.Equal(t, 204, w.do("DELETE", "enrolments/"+made.Enrolment.ID, nil).status)
	w.problem(404, "not-found", w.do("DELETE", "enrolments/"+made.Enrolment.ID, nil))
	var again api.NewHost
	w.into(201, w.do("POST", "hosts/builder-01/reenrol", nil), &again)
	require.True(t, again.Isolated, "what is left out stays")
	no := false
	w.into(201, w.do("POST", "hosts/builder-01/reenrol", api.ReenrolSpec{Isolated: &no}), &again)
	require.False(t, again.Isolated)
	require.Equal(t, made.ID, again.ID)

	for _, verb := range []string{"cordon", "uncordon", "drain", "revoke"} {
		w.into(200, w.do("POST", "hosts/builder-01/"+verb, nil), &shown)
		require.Equal(t, verb == "cordon" || verb == "drain" || verb == "revoke", shown.Cordoned, verb)
	}
	w.into(200, w.do("POST", "hosts/builder-01/drain", api.DrainSpec{DeadlineSeconds: 90}), &shown)
	require.WithinDuration(t, time.Now().Add(90*time.Second), *shown.DrainDeadline, 30*time.Second)
	require.True(t, shown.Draining)
	p := w.problem(409, "host-offline", w.do("POST", "hosts/builder-01/rotate-token", nil))
	require.Contains(t, p.Detail, "offline")

	require.Equal(t, 204, w.do("DELETE", "hosts/builder-01", nil).status)
	for _, path := range []string{"hosts/builder-01", "hosts/" + made.ID} {
		p := w.problem(404, "not-found", w.do("GET", path, nil))
		require.Equal(t, "there is no such host", p.Detail)
	}
}

func TestWhatIsWrongWithAHostIsSaid(t *testing.T) {
	w := newWorld(t)
	w.add("a")
	for name, c := range map[string]struct{ method, path, body, location string }{
		"no name":          {"POST", "hosts", `{}`, "body"},
		"bad name":         {"POST", "hosts", `{"name": "A_"}`, "body.name"},
		"bad label":        {"POST", "hosts", `{"name": "b", "labels": {"": "x"}}`, "body.labels"},
		"negative":         {"POST", "hosts", `{"name": "b", "max_runners": -1}`, "body.max_runners"},
		"unknown field":    {"POST", "hosts", `{"name": "b", "nmae": "c"}`, "body.nmae"},
		"edit to bad name": {"PATCH", "hosts/a", `{"name": "-"}`, "body.name"},
		"bad selector":     {"GET", "hosts?selector=a", ``, "query.selector"},
		"long limit":       {"GET", "hosts?limit=501", ``, "query.limit"},
		"two limits":       {"GET", "hosts?limit=1&limit=2", ``, "query.limit"},
		"long drain":       {"POST", "hosts/a/drain", `{"deadline_seconds": 604801}`, "body.deadline_seconds"},
		"update of none":   {"POST", "hosts/update", `{}`, "body.hosts"},
		"update of both":   {"POST", "hosts/update", `{"all": true, "hosts": ["a"]}`, "body.hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			var body any
			if c.body != "" {
				body = c.body
			}
			a := w.do(c.method, c.path, body)
			p := w.problem(422, "invalid", a)
			require.NotEmpty(t, p.Errors, a.body)
			require.Equal(t, c.location, p.Errors[0].Location, a.body)
		})
	}
	for _, path := range []string{"cordon", "uncordon", "drain", "rotate-token", "revoke", "reenrol", "update"} {
		w.problem(404, "not-found", w.do("POST", "hosts/nope/"+path, nil))
	}
	w.problem(404, "not-found", w.do("PATCH", "hosts/nope", `{}`))
	w.problem(404, "not-found", w.do("DELETE", "hosts/nope", nil))
}

// Of many who edit the same version one wins, and the others learn what it is now.
func TestALostUpdateIsRefused(t *testing.T) {
	w := newWorld(t)
	w.add("a")
	etag := w.do("GET", "hosts/a", nil).header.Get("ETag")
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			a := w.do("PATCH", "hosts/a", map[string]int{"max_runners": i + 1}, "If-Match", etag)
			switch a.status {
			case 200:
				won.Add(1)
			default:
				p := w.problem(412, "stale", a)
				require.Equal(t, `"2"`, a.header.Get("ETag"))
				require.Contains(t, p.Detail, "host a was edited since: its version is 2 now")
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(1), won.Load())

	edit := map[string]bool{"cordoned": true}
	require.Equal(t, 200, w.do("PATCH", "hosts/a", edit).status, "without If-Match it is done in any case")
	require.Equal(t, 200, w.do("PATCH", "hosts/a", edit, "If-Match", "*").status)
	require.Equal(t, 200, w.do("PATCH", "hosts/a", edit, "If-Match", `"17", "4"`).status)
	for _, bad := range []string{`"17"`, `W/"5"`, `"five"`, `"1", "2"`, `"-5"`, `"0"`} {
		w.problem(412, "stale", w.do("PATCH", "hosts/a", edit, "If-Match", bad))
	}
	for _, bad := range []string{`5`, `"5`, `5"`, `,`} {
		w.problem(400, "invalid", w.do("PATCH", "hosts/a", edit, "If-Match", bad))
	}
	w.problem(412, "stale", w.do("DELETE", "hosts/a", nil, "If-Match", `"4"`))
	require.Equal(t, 204, w.do("DELETE", "hosts/a", nil, "If-Match", `"5"`).status)
}

func TestHostsAreListedInPages(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		_, _, err := w.hosts.Add(t.Context(), hosts.HostSpec{Name: name, Labels: map[string]string{"even": map[bool]string{true: "yes", false: "no"}[name == "b" || name == "d"], "x": "y"}})
		require.NoError(t, err)
	}
	var names []string
	for cursor := ""; ; {
		var page struct {
			Items []api.Host
			Next  *string
		}
		w.into(200, w.do("GET", "hosts?limit=2&cursor="+cursor, nil), &page)
		for _, h := range page.Items {
			names = append(names, h.Name)
		}
		if page.Next == nil {
			break
		}
		cursor = *page.Next
	}
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, names)
	for query, want := range map[string]int{"selector=even=yes": 2, "selector=even=yes&selector=x=y": 2, "selector=even=yes,x=z": 0, "selector=even=no": 3} {
		var page struct{ Items []api.Host }
		w.into(200, w.do("GET", "hosts?"+query, nil), &page)
		require.Len(t, page.Items, want, query)
	}
}

func TestWithoutPartsTheRoutesSaySo(t *testing.T) {
	h := newHub(t)
	for _, path := range []string{"hosts", "hosts/a", "enrolments", "scale-sets", "scale-sets/a", "credentials", "runners", "runners/a", "events", "events/stream", "audit"} {
		h.problem(404, "not-configured", h.do("GET", path, nil))
	}
	h.token = "x"
	h.problem(401, "unauthorized", h.do("GET", "hosts", nil))
}

func TestUpdates(t *testing.T) {
	w := newWorld(t)
	host, enrolment := w.add("a")
	w.connect(host, enrolment)
	w.add("never-enrolled")
	var shown api.Host
	require.Eventually(t, func() bool {
		w.into(200, w.do("GET", "hosts/a", nil), &shown)
		return shown.Online && shown.Ready
	}, 20*time.Second, 10*time.Millisecond)
	var list struct{ Items []api.Host }
	w.into(http.StatusAccepted, w.do("POST", "hosts/update", api.UpdateHostsSpec{All: true, Version: "0.0.2"}), &list)
	require.Len(t, list.Items, 1)
	require.Equal(t, "a", list.Items[0].Name)
	require.Eventually(t, func() bool {
		w.into(200, w.do("GET", "hosts/a", nil), &shown)
		return shown.UpdateProblem != ""
	}, 20*time.Second, 10*time.Millisecond, "this agent can't, and that is shown")
	w.into(http.StatusAccepted, w.do("POST", "hosts/a/update", api.UpdateSpec{Version: "0.0.3"}), &shown)
}
