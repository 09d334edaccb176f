package shipfox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// stub is a service of which a test says how each route answers; what it does
// not say is answered as the real one does when all is well.
type stub struct {
	t     *testing.T
	reply map[string]func(w http.ResponseWriter, body string) // by path

	mu    sync.Mutex
	calls []string // path and body

	url string
}

func newStub(t *testing.T, generation shipfox.Generation) (*stub, *shipfox.ControlPlane) {
	s := &stub{t: t, reply: map[string]func(http.ResponseWriter, string){}}
	s.speaks(generation)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	c, err := shipfox.New(shipfox.Config{URL: server.URL + "/", Token: tokens.New(tokens.Provisioner), BatchSize: 2})
	require.NoError(t, err)
	return s, c
}

const (
	ertReconcile = "/provisioners/runner-instances/reconcile"
	prReconcile  = "/provisioners/provisioned-runners/reconcile"
	ertReport    = "/provisioners/runner-instances/report"
	mintRoute    = "/provisioners/runner-registration-tokens/batch"
	batchRoute   = "/provisioners/runner-instances/batch"
	assignRoute  = "/provisioners/runner-instances/assignments"
	attachRoute  = "/provisioners/runner-instances/i1/provider-runner"
)

func (s *stub) speaks(g shipfox.Generation) {
	gone := answer(404, `{"code":"not-found"}`)
	for _, route := range []string{ertReconcile, prReconcile, mintRoute, batchRoute} {
		delete(s.reply, route)
	}
	switch g {
	case shipfox.Head:
		s.reply[mintRoute], s.reply[prReconcile] = gone, gone
	case shipfox.Ert:
		s.reply[batchRoute], s.reply[prReconcile] = gone, gone
	case shipfox.Pr:
		s.reply[batchRoute], s.reply[ertReconcile] = gone, gone
	}
}

func answer(status int, body string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// lost does what a connection that breaks before the answer does.
func lost(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }

// turns answers with each of fs in turn, with the last from then on.
func turns(fs ...func(http.ResponseWriter, string)) func(http.ResponseWriter, string) {
	var n atomic.Int64
	return func(w http.ResponseWriter, body string) { fs[min(int(n.Add(1)), len(fs))-1](w, body) }
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.calls = append(s.calls, r.URL.Path+" "+string(body))
	f := s.reply[r.URL.Path]
	s.mu.Unlock()
	switch {
	case f != nil:
		f(w, string(body))
	case r.URL.Path == "/provisioners/me":
		_, _ = io.WriteString(w, `{"id":"p1","workspace_id":"w1"}`)
	case r.URL.Path == mintRoute:
		answer(400, `{"code":"validation-error"}`)(w, "")
	case strings.HasSuffix(r.URL.Path, "/provider-runner"):
		_, _ = io.WriteString(w, `{"attached":true}`)
	default:
		_, _ = io.WriteString(w, `{"accepted":1,"runners":[]}`)
	}
}

func (s *stub) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

// to are the bodies that were sent to a route.
func (s *stub) to(route string) (bodies []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if path, body, _ := strings.Cut(c, " "); path == route {
			bodies = append(bodies, body)
		}
	}
	return bodies
}

func ref(id, instance, reservation string) provisioner.Ref {
	return provisioner.Ref{ID: id, Labels: map[string]string{
		provisioner.LabelTemplate: "small", provisioner.LabelLabels: "linux,small", provisioner.LabelReservation: reservation, shipfox.LabelInstance: instance,
	}}
}

func TestGenerationsAreToldApart(t *testing.T) {
	for _, g := range []shipfox.Generation{shipfox.Head, shipfox.Ert, shipfox.Pr} {
		t.Run(string(g), func(t *testing.T) {
			_, c := newStub(t, g)
			me, err := c.Identify(t.Context())
			require.NoError(t, err)
			require.Equal(t, provisioner.Identity{ID: "p1", Scope: "workspace", Workspace: "w1"}, me, "an identity without a scope is a workspace's")
			found, err := c.Generation(t.Context())
			require.NoError(t, err)
			require.Equal(t, g, found)
			err = c.CheckTemplates(t.Context(), make([]template.Template, 101))
			if g == shipfox.Head {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, shipfox.ErrTooManyTemplates)
			}
			wide := make([]template.Template, 100)
			for i := range wide {
				wide[i].Labels = []string{strings.Repeat("l", 11_000)}
			}
			require.NoError(t, c.CheckTemplates(t.Context(), wide[:90]))
			err = c.CheckTemplates(t.Context(), wide)
			require.ErrorIs(t, err, shipfox.ErrTooManyTemplates, "the service takes 1 MiB")
			require.ErrorContains(t, err, "at most 1048576")
		})
	}
}

func TestAServiceThatMovesOn(t *testing.T) {
	s, c := newStub(t, shipfox.Ert)
	s.reply[mintRoute] = turns(answer(400, `{}`), answer(404, `{"code":"not-found"}`))
	request := []provisioner.MintRequest{{Runner: "r1", Template: "small", Reservation: "v1", Labels: []string{"linux"}}}
	_, err := c.Mint(t.Context(), request)
	require.Error(t, err, "the mint that finds the route gone fails")
	s.speaks(shipfox.Head)
	s.reply[batchRoute] = answer(200, `{"runner_instances":[{"runner_instance_id":"i1","bootstrap_token":"sf_rbt_x","request_index":0}]}`)
	minted, err := c.Mint(t.Context(), request)
	require.NoError(t, err, "the next one speaks the new generation")
	require.Equal(t, "sf_rbt_x", minted[0].Env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"])
	require.Equal(t, "i1", minted[0].Labels[shipfox.LabelInstance])
}

// Head and ert report on the same route; what one takes, the other refuses.
func TestAServiceThatGoesBackHearsOfTheEndsToo(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	ended := provisioner.Event{Runner: "r1", Labels: ref("r1", "i1", "v1").Labels, State: provisioner.EventStopped, At: time.Now()}
	require.NoError(t, c.Report(t.Context(), []provisioner.Event{ended}))
	s.speaks(shipfox.Ert)
	s.reply[mintRoute] = answer(400, `{"code":"validation-error"}`)
	var taken []string
	s.reply[ertReport] = func(w http.ResponseWriter, body string) {
		if strings.Contains(body, "runner_instance_id") {
			answer(400, `{"code":"validation-error","message":"Unrecognized key"}`)(w, body)
			return
		}
		taken = append(taken, body)
		answer(200, `{"accepted":1}`)(w, body)
	}
	require.NoError(t, c.Report(t.Context(), []provisioner.Event{ended}))
	require.Len(t, taken, 1)
	require.Contains(t, taken[0], `"reservation_id":"v1"`)
	g, err := c.Generation(t.Context())
	require.NoError(t, err)
	require.Equal(t, shipfox.Ert, g)
}

// A request on a connection that broke may be sent anew by net/http itself only if it
// was never written, and a POST that was is not: each try is one request.
func TestALostAttachIsTwoRequests(t *testing.T) {
	s, control := newStub(t, shipfox.Head)
	s.reply[attachRoute] = lost
	err := control.Announce(t.Context(), ref("r1", "i1", "v1"))
	require.Error(t, err)
	require.NotErrorIs(t, err, provisioner.ErrRefused)
	require.Len(t, s.to(attachRoute), 2)
}

func TestMintTakesWhatIsLeftOfAReservation(t *testing.T) {
	s, c := newStub(t, shipfox.Ert)
	_, err := c.Identify(t.Context())
	require.NoError(t, err)
	s.reply[mintRoute] = func(w http.ResponseWriter, body string) {
		var asked struct {
			Each []map[string]string `json:"runner_instances"`
		}
		_ = json.Unmarshal([]byte(body), &asked)
		if len(asked.Each) > 1 {
			answer(409, `{"code":"batch-exceeds-reservation","details":{"requested":2,"reservation_count":3,"already_minted":2}}`)(w, "")
			return
		}
		fmt.Fprintf(w, `{"tokens":[{"provider_runner_id":%q,"registration_token":"sf_ert_secret","expires_at":"2030-01-01T00:00:00Z"}]}`, asked.Each[0]["provider_runner_id"])
	}
	minted, err := c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Reservation: "v1"}, {Runner: "r2", Reservation: "v1"}})
	require.NoError(t, err)
	require.Len(t, minted, 1)
	require.Equal(t, "sf_ert_secret", minted[0].Env["SHIPFOX_RUNNER_REGISTRATION_TOKEN"])
	require.NotContains(t, minted[0].Env, "SHIPFOX_RUNNER_PROVIDER_KIND")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", minted, minted, minted), "secret")

	s.reply[mintRoute] = answer(409, `{"code":"reservation-expired"}`)
	minted, err = c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r3", Reservation: "v1"}})
	require.NoError(t, err, "a reservation that is gone is a refusal, no error")
	require.Empty(t, minted)

	_, err = c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r4"}})
	require.ErrorIs(t, err, errors.ErrUnsupported, "the old generations have no warm runners")
}

func TestAnAnswerWithoutRequestIndexIsAPrefix(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	s.reply[batchRoute] = answer(200, `{"runner_instances":[{"runner_instance_id":"i1","bootstrap_token":"sf_rbt_x"}],"reservation_unavailable":true}`)
	minted, err := c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Reservation: "v1"}, {Runner: "r2", Reservation: "v1"}})
	require.NoError(t, err)
	require.Len(t, minted, 1)
	require.Equal(t, "r1", minted[0].Runner)
}

func TestReports(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	at := time.Date(2026, 1, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	labels := ref("", "i1", "v1").Labels
	var events []provisioner.Event
	for i := range 2500 {
		events = append(events, provisioner.Event{Runner: fmt.Sprint("r", i), Labels: labels, State: provisioner.EventFailed, Reason: strings.Repeat([]string{"é", "🚀"}[i%2], 600), At: at})
	}
	events[0].Reason = ""
	require.NoError(t, c.Report(t.Context(), events))
	bodies := s.to(ertReport)
	require.Greater(t, len(bodies), 2)
	total := 0
	for _, body := range bodies {
		require.Less(t, len(body), 1<<20)
		var sent struct {
			Events []map[string]any `json:"events"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &sent))
		require.LessOrEqual(t, len(sent.Events), 1000)
		total += len(sent.Events)
		for _, e := range sent.Events {
			require.Equal(t, "2026-01-01T11:00:00.123Z", e["reported_at"])
			if reason, ok := e["reason"].(string); ok {
				require.True(t, utf8.ValidString(reason))
				units := len(utf16.Encode([]rune(reason)))
				require.True(t, units == 500 || units == 499, "%d", units) // a rocket takes two
			}
		}
	}
	require.Equal(t, 2500, total)

	s.reply[ertReport] = answer(400, `{"code":"validation-error"}`)
	require.ErrorIs(t, c.Report(t.Context(), events[:1]), provisioner.ErrRejected)
	s.reply[ertReport] = answer(500, `{"code":"server-error"}`)
	err := c.Report(t.Context(), events[:1])
	require.Error(t, err)
	require.NotErrorIs(t, err, provisioner.ErrRejected)
	_, err = c.Facts(t.Context(), []provisioner.Ref{ref("r1", "i1", "v1")})
	require.ErrorIs(t, err, shipfox.ErrNotAsked, "what was not told of would be ended")
}

func TestReconcileIsNeverSplit(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	refs := make([]provisioner.Ref, 5001)
	for i := range refs {
		refs[i] = ref(fmt.Sprint("r", i), "", "")
	}
	_, err := c.Identify(t.Context())
	require.NoError(t, err)
	before := len(s.to(ertReconcile))
	_, err = c.Facts(t.Context(), refs)
	require.ErrorIs(t, err, shipfox.ErrNotAsked)
	require.Equal(t, before, len(s.to(ertReconcile)))
	_, err = c.Facts(t.Context(), refs[:5000])
	require.NoError(t, err)
	bodies := s.to(ertReconcile)
	require.Equal(t, 5000, strings.Count(bodies[len(bodies)-1], `"r`))
}

func TestFactsOfHead(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	s.reply[ertReconcile] = answer(200, `{"runners":[
		{"provider_runner_id":"session","state":"running","runner_session_id":"s","bound_job":{"job_id":"j","cancellation_requested_at":null},"desired_intent":"keep"},
		{"provider_runner_id":"cancelled","state":"running","runner_session_id":"s","bound_job":{"job_id":"j2","cancellation_requested_at":"2026-01-01T00:00:00Z"},"desired_intent":"terminate"},
		{"provider_runner_id":"good","state":null,"desired_intent":"keep"},
		{"provider_runner_id":"bad","state":null,"desired_intent":"keep"},
		{"provider_runner_id":"warm","state":null,"desired_intent":"keep"}]}`)
	s.reply[assignRoute] = func(w http.ResponseWriter, body string) {
		if strings.Contains(body, "i-bad") {
			answer(409, `{"code":"runner-instance-not-assignable"}`)(w, "")
			return
		}
		answer(200, `{"runner_instance_ids":["i-good"]}`)(w, "")
	}
	facts, err := c.Facts(t.Context(), []provisioner.Ref{
		ref("session", "i0", "v0"), ref("cancelled", "i9", "v0"), ref("good", "i-good", "v1"), ref("bad", "i-bad", "v1"), ref("warm", "i2", ""),
	})
	require.NoError(t, err)
	by := map[string]provisioner.Fact{}
	for _, f := range facts {
		by[f.Runner] = f
	}
	require.Equal(t, provisioner.Fact{Runner: "session", Registered: provisioner.Yes, Busy: provisioner.Yes, Job: "j"}, by["session"])
	require.True(t, by["cancelled"].Unwanted)
	require.Equal(t, "job-cancelled", by["cancelled"].Reason)
	require.Equal(t, provisioner.Yes, by["good"].Registered, "one that never enrols hides no other: they are asked about one by one")
	require.Equal(t, provisioner.No, by["bad"].Registered)
	require.Equal(t, provisioner.Unknown, by["warm"].Registered, "a warm runner can't be known before it is assigned")
	require.Len(t, s.to(assignRoute), 3)
}

func TestRetireFencesFirst(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	s.reply[ertReconcile] = answer(200, `{"runners":[{"provider_runner_id":"other"},{"provider_runner_id":"never"},{"provider_runner_id":"unsure"},
		{"provider_runner_id":"late","reservation_id":"v1"}]}`)
	s.reply[assignRoute] = func(w http.ResponseWriter, body string) {
		if strings.Contains(body, "i-unsure") {
			answer(503, `{}`)(w, "")
			return
		}
		answer(404, `{"code":"reservation-not-found"}`)(w, "")
	}
	_, err := c.Facts(t.Context(), []provisioner.Ref{ref("other", "", "")})
	require.NoError(t, err)
	retired, err := c.Retire(t.Context(), []provisioner.Ref{ref("never", "i-never", "v1"), ref("unsure", "i-unsure", "v1"), ref("late", "i-late", "v1"), ref("warm", "i-warm", "")})
	require.NoError(t, err)
	require.Equal(t, []string{"never"}, retired)

	reports := s.to(ertReport)
	require.Len(t, reports, 2)
	require.Equal(t, 3, strings.Count(reports[0], `"stopping"`), "first they are made unassignable, but for the one that is seen to be registered")
	require.Equal(t, 1, strings.Count(reports[1], `"terminated"`), "terminated is told before the kill, of those alone that nobody knows")
	require.Contains(t, reports[1], "registration-deadline")
	bodies := s.to(ertReconcile)
	require.Contains(t, bodies[len(bodies)-1], `"other"`, "a reconcile never carries a subset")
}

func TestConfigNamesTheField(t *testing.T) {
	_, err := shipfox.New(shipfox.Config{URL: "ftp://x", Token: tokens.New(tokens.Admin)})
	require.ErrorContains(t, err, "URL")
	require.ErrorContains(t, err, "sf_pt_")
}
