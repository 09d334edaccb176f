package shipfox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// running is a loop between a stub and an engine in memory.
type running struct {
	*provisioner.Loop
	engine *memory.Engine
	specs  func() []backend.Spec // what was launched
}

func runLoop(t *testing.T, control provisioner.ControlPlane, most int, before ...backend.Spec) running {
	t.Helper()
	var (
		mu       sync.Mutex
		launched []backend.Spec
	)
	r := running{engine: memory.New(memory.Config{
		Hosts:     []memory.Host{{Name: "near"}, {Name: "far"}},
		Behaviour: func(backend.Spec) memory.Program { return memory.Program{} }, // it runs until it is removed
		Observe: func(e memory.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == memory.Launched {
				launched = append(launched, e.Spec)
			}
		},
	})}
	r.specs = func() []backend.Spec {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(launched)
	}
	for _, spec := range before {
		require.NoError(t, r.engine.Backend("p1").Launch(t.Context(), spec))
	}
	var err error
	r.Loop, err = provisioner.New(provisioner.Config{
		ControlPlane: control, Backend: r.engine.Backend("p1"),
		Templates:    []template.Template{{Key: "small", Labels: []string{"linux", "small"}, CPU: 1, MaxConcurrency: most}},
		Limits:       provisioner.Limits{PollWait: time.Second, FactsInterval: 200 * time.Millisecond},
		DrainTimeout: time.Nanosecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return r
}

// grants answers polls with one grant of n, once.
func grants(n int) func(http.ResponseWriter, string) {
	var given atomic.Bool
	return func(w http.ResponseWriter, _ string) {
		if given.Swap(true) {
			answer(200, `{"stats":[],"reservations":[]}`)(w, "")
			return
		}
		answer(200, fmt.Sprintf(`{"stats":[],"reservations":[{"reservation_id":"v1","labels":["linux"],"count":%d}]}`, n))(w, "")
	}
}

// instances answers mints with instances of their own, each token once.
func instances() func(http.ResponseWriter, string) {
	var made atomic.Int64
	return func(w http.ResponseWriter, body string) {
		var asked struct {
			Each []struct{} `json:"runner_instances"`
		}
		_ = json.Unmarshal([]byte(body), &asked)
		var out []string
		for i := range asked.Each {
			n := made.Add(1)
			out = append(out, fmt.Sprintf(`{"runner_instance_id":"i%d","bootstrap_token":"sf_rbt_%d","request_index":%d}`, n, n, i))
		}
		answer(200, `{"runner_instances":[`+strings.Join(out, ",")+`]}`)(w, "")
	}
}

const patience = 30 * time.Second

func eventually(t *testing.T, why string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, patience, 10*time.Millisecond, why)
}

// While reports are not accepted nothing is reconciled, and health says so; it is
// again when they are.
func TestHealthSaysThatNothingIsReconciled(t *testing.T) {
	s, c := newStub(t, shipfox.Ert)
	_, err := c.Identify(t.Context())
	require.NoError(t, err)
	var deaf atomic.Bool
	deaf.Store(true)
	s.reply[ertReport] = func(w http.ResponseWriter, _ string) {
		if deaf.Load() {
			answer(503, `{"code":"server-error"}`)(w, "")
			return
		}
		answer(200, `{"accepted":1}`)(w, "")
	}
	before := len(s.to(ertReconcile))
	r := runLoop(t, c, 2, backend.Spec{ID: uuid.Must(uuid.NewV7()).String(), Labels: ref("", "", "v1").Labels})
	facet := func(name string) string { return r.Health().Facet(name).Reason }
	eventually(t, "it is said", func() bool {
		return strings.Contains(facet(provisioner.FacetFacts), "reports are not accepted") && strings.Contains(facet(provisioner.FacetReports), "503")
	})
	// A question that was put before the first report was refused is none that harms.
	asked := len(s.to(ertReconcile))
	require.LessOrEqual(t, asked-before, 1)
	sent := len(s.to(ertReport))
	eventually(t, "it is tried again", func() bool { return len(s.to(ertReport)) > sent })
	require.Len(t, s.to(ertReconcile), asked)
	deaf.Store(false)
	eventually(t, "all is well", func() bool { return facet(provisioner.FacetFacts) == "" && facet(provisioner.FacetReports) == "" })
	require.Greater(t, len(s.to(ertReconcile)), asked)
}

// A reconcile carries every runner that holds a slot, those on a host that can't be
// observed included: whom it leaves out the service ends.
func TestAReconcileCarriesEverybody(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	_, err := c.Identify(t.Context())
	require.NoError(t, err)
	var specs []backend.Spec
	for range 6 {
		specs = append(specs, backend.Spec{ID: uuid.Must(uuid.NewV7()).String(), Labels: ref("", "", "").Labels})
	}
	r := runLoop(t, c, 10, specs...)
	r.engine.SetOnline("far", false)
	unknown := func() (n int) {
		for _, one := range r.State().Runners {
			if one.State == string(backend.Unknown) {
				n++
			}
		}
		return n
	}
	eventually(t, "some can't be observed", func() bool { return unknown() > 0 })
	require.Less(t, unknown(), 6)
	since := len(s.to(ertReconcile))
	eventually(t, "it is asked again", func() bool { return len(s.to(ertReconcile)) > since+1 })
	for _, body := range s.to(ertReconcile)[since+1:] {
		for _, spec := range specs {
			require.Contains(t, body, spec.ID)
		}
	}
}

// crowded asks about so many more than there are.
type crowded struct {
	*shipfox.ControlPlane
	more int
}

func (c crowded) Facts(ctx context.Context, runners []provisioner.Ref) ([]provisioner.Fact, error) {
	for i := range c.more {
		runners = append(runners, ref(fmt.Sprint("r", i), "", ""))
	}
	return c.ControlPlane.Facts(ctx, runners)
}

// Above 5000 runners nothing is reconciled, since a part would end the rest; health
// says so, and work goes on.
func TestHealthSaysThatThereAreTooMany(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	_, err := c.Identify(t.Context())
	require.NoError(t, err)
	before := len(s.to(ertReconcile))
	r := runLoop(t, crowded{c, 5000}, 6000, backend.Spec{ID: uuid.Must(uuid.NewV7()).String(), Labels: ref("", "", "").Labels})
	eventually(t, "it is said", func() bool {
		return strings.Contains(r.Health().Facet(provisioner.FacetFacts).Reason, "5001 runners, and a reconcile takes at most 5000")
	})
	require.Len(t, s.to(ertReconcile), before)
	eventually(t, "polls go on", func() bool { return r.Health().Ready() })
}

// Nothing is told of a runner before its attach was answered; nothing at all of one
// that was refused.
func TestNothingIsReportedBeforeTheAttachIsAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, string)
		want   string // in the reports
	}{
		"attached": {answer(200, `{"attached":true}`), `"starting"`},
		"refused":  {answer(200, `{"attached":false}`), ""},
		"given up": {answer(500, `{"code":"server-error"}`), `"failed"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, control := newStub(t, shipfox.Head)
			_, err := control.Identify(t.Context())
			require.NoError(t, err)
			attaching, goOn := make(chan struct{}, 9), make(chan struct{})
			s.reply["/provisioners/demand/poll"], s.reply[batchRoute] = grants(1), instances()
			s.reply[attachRoute] = func(w http.ResponseWriter, body string) {
				attaching <- struct{}{}
				<-goOn
				c.answer(w, body)
			}
			r := runLoop(t, control, 2)
			select {
			case <-attaching:
			case <-time.After(patience):
				t.Fatal("it is never attached")
			}
			// An adopted one is told of meanwhile, so reports do flow.
			other := backend.Spec{ID: uuid.Must(uuid.NewV7()).String(), Labels: ref("", "i9", "v9").Labels}
			require.NoError(t, r.engine.Backend("p1").Launch(t.Context(), other))
			eventually(t, "the other one is told of", func() bool { return strings.Contains(strings.Join(s.to(ertReport), ""), other.ID) })
			ours := r.State().Runners[0].ID
			require.NotContains(t, strings.Join(s.to(ertReport), ""), ours)
			require.Len(t, r.specs(), 1, "nor is it launched")
			close(goOn)
			if c.want == "" {
				eventually(t, "it is dropped", func() bool { return len(r.State().Runners) == 0 || r.State().Runners[0].Phase == provisioner.Dropped })
				require.NotContains(t, strings.Join(s.to(ertReport), ""), ours)
				return
			}
			eventually(t, "it is told of", func() bool {
				return slices.ContainsFunc(s.to(ertReport), func(body string) bool { return strings.Contains(body, ours) && strings.Contains(body, c.want) })
			})
		})
	}
}

// An answer to a mint that is lost leaves tokens that expire: none of them starts
// anything, and no more runners are launched than were granted.
func TestALostMintNeverMakesTwoRunners(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	_, err := c.Identify(t.Context())
	require.NoError(t, err)
	mint := instances()
	var attached []string
	var mu sync.Mutex
	s.reply["/provisioners/demand/poll"] = grants(2)
	s.reply[batchRoute] = turns(func(w http.ResponseWriter, body string) {
		mint(&nowhere{}, body) // the service has made two
		lost(w, body)
	}, mint)
	for i := range 9 {
		s.reply[fmt.Sprintf("/provisioners/runner-instances/i%d/provider-runner", i)] = func(w http.ResponseWriter, _ string) {
			mu.Lock()
			attached = append(attached, fmt.Sprint("i", i))
			mu.Unlock()
			answer(200, `{"attached":true}`)(w, "")
		}
	}
	r := runLoop(t, c, 5)
	eventually(t, "both are launched", func() bool { return len(r.specs()) >= 2 })
	eventually(t, "and told of", func() bool { return strings.Count(strings.Join(s.to(ertReport), ""), `"running"`) >= 2 })
	var used []string
	for _, spec := range r.specs() {
		used = append(used, spec.Env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"])
	}
	slices.Sort(used)
	require.Equal(t, []string{"sf_rbt_3", "sf_rbt_4"}, used)
	mu.Lock()
	defer mu.Unlock()
	require.ElementsMatch(t, []string{"i3", "i4"}, attached)
	require.Len(t, s.to(batchRoute), 2)
}

type nowhere struct{ http.ResponseWriter }

func (*nowhere) WriteHeader(int)             {}
func (*nowhere) Write(b []byte) (int, error) { return len(b), nil }

// The clock may be set back while a runner lives: what is told of it does not go
// back.
func TestReportedTimesNeverGoBack(t *testing.T) {
	s, c := newStub(t, shipfox.Head)
	at := time.Date(2026, 1, 1, 12, 0, 10, 0, time.UTC)
	for _, e := range []provisioner.Event{
		{State: provisioner.EventRunning, At: at}, {State: provisioner.EventRunning, At: at.Add(-time.Hour)}, {State: provisioner.EventStopped, At: at.Add(-time.Second)},
		{Runner: "other", State: provisioner.EventRunning, At: at.Add(-time.Second)},
	} {
		e.Labels = ref("", "i1", "v1").Labels
		if e.Runner == "" {
			e.Runner = "r1"
		}
		require.NoError(t, c.Report(t.Context(), []provisioner.Event{e}))
	}
	var told []string
	for _, body := range s.to(ertReport) {
		_, rest, _ := strings.Cut(body, `"reported_at":"`)
		told = append(told, rest[:24])
	}
	require.Equal(t, []string{"2026-01-01T12:00:10.000Z", "2026-01-01T12:00:10.000Z", "2026-01-01T12:00:10.000Z", "2026-01-01T12:00:09.000Z"}, told)
}

// A mint is never for more than 500, whatever is configured.
func TestMintsAreCutAtFiveHundred(t *testing.T) {
	s, _ := newStub(t, shipfox.Head)
	c, err := shipfox.New(shipfox.Config{URL: s.url, Token: tokens.New(tokens.Provisioner), BatchSize: 5000})
	require.NoError(t, err)
	s.reply[batchRoute] = instances()
	requests := make([]provisioner.MintRequest, 1100)
	for i := range requests {
		requests[i] = provisioner.MintRequest{Runner: fmt.Sprint("r", i), Template: "small", Reservation: "v1"}
	}
	minted, err := c.Mint(t.Context(), requests)
	require.NoError(t, err)
	require.Len(t, minted, 1100)
	var sizes []int
	for _, body := range s.to(batchRoute) {
		sizes = append(sizes, strings.Count(body, "template_key"))
	}
	require.Equal(t, []int{500, 500, 100}, sizes)
}
