package shipfoxapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
)

// exchange is one line of testdata/shipfox-*.jsonl: a request of the reference
// provisioner or of a runner, and what the real server answered.
type exchange struct {
	At           time.Time
	MS           int
	Method, Path string
	Headers      map[string]string
	Body         string
	Status       int
	Res          string
	ClientClosed bool
	Error        string
}

func readExchanges(t *testing.T, file string) (out []exchange) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e exchange
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		if e.Error == "" { // the proxy's own note on a closed poll
			out = append(out, e)
		}
	}
	require.NoError(t, lines.Err())
	slices.SortStableFunc(out, func(a, b exchange) int { return a.At.Compare(b.At) })
	return out
}

// replayer sends the recorded requests with our ids and tokens in place of the
// recorded ones.
type replayer struct {
	*world
	ours  map[string]string   // recorded id or token → ours
	fresh map[string][]string // tokens of ours by kind, not seen in a header yet
	seen  map[string]string   // header as recorded (it is cut) → token of ours
	last  map[string]string   // the newest session and lease token
}

func newReplayer(t *testing.T, g queue.Generation) *replayer {
	return &replayer{
		world: newWorld(t, g), ours: map[string]string{}, fresh: map[string][]string{},
		seen: map[string]string{}, last: map[string]string{},
	}
}

func (r *replayer) request(e exchange) request {
	pairs := make([]string, 0, 2*len(r.ours))
	for recorded, ours := range r.ours {
		pairs = append(pairs, recorded, ours)
	}
	mapped := strings.NewReplacer(pairs...)
	req := request{method: e.Method, path: mapped.Replace(e.Path), body: mapped.Replace(e.Body), contentType: e.Headers["content-type"], header: http.Header{}}
	if e.Headers["x-shipfox-reconcile-intended-reservation"] != "" {
		req.header.Set("X-Shipfox-Reconcile-Intended-Reservation", "1")
	}
	scheme, token, _ := strings.Cut(e.Headers["authorization"], " ")
	req.auth = scheme + " " + r.credential(e.Path, token)
	return req
}

// credential chooses our token for a recorded one, of which little is left.
func (r *replayer) credential(path, recorded string) string {
	switch {
	case strings.HasPrefix(recorded, "sf_pt_"):
		return r.provisioner
	case strings.HasSuffix(path, "/jobs/request"):
		return r.last["session_token"]
	case strings.HasPrefix(recorded, "ey"):
		return r.last["lease_token"]
	case !strings.HasPrefix(recorded, "sf_"):
		return recorded
	}
	if r.seen[recorded] == "" {
		kind := recorded[:len("sf_xxx")]
		require.NotEmpty(r.t, r.fresh[kind], "%s: no token of this kind was given out", path)
		r.seen[recorded], r.fresh[kind] = r.fresh[kind][0], r.fresh[kind][1:]
	}
	return r.seen[recorded]
}

// learn walks a recorded answer and ours, and notes what stands for what.
func (r *replayer) learn(recorded, got any, name string) {
	switch recorded := recorded.(type) {
	case map[string]any:
		object, _ := got.(map[string]any)
		for key := range recorded {
			r.learn(recorded[key], object[key], key)
		}
	case []any:
		list, _ := got.([]any)
		for i := range min(len(recorded), len(list)) {
			r.learn(recorded[i], list[i], name)
		}
	case string:
		ours, ok := got.(string)
		if !ok || plain(recorded) == any(recorded) {
			return
		}
		r.ours[recorded] = ours
		if strings.HasPrefix(ours, "sf_") {
			r.fresh[ours[:len("sf_xxx")]] = append(r.fresh[ours[:len("sf_xxx")]], ours)
		}
		r.last[name] = ours
	}
}

// demand queues the jobs that a recorded poll found.
func (r *replayer) demand(e exchange) {
	var answer struct {
		Stats []struct {
			Labels   []string
			Queued   int
			Reserved int
		}
		Reservations []struct{ Count int }
	}
	require.NoError(r.t, json.Unmarshal([]byte(e.Res), &answer))
	for i, s := range answer.Stats {
		require.Equal(r.t, s.Queued, answer.Reservations[i].Count, "the recordings grant all that waits")
		r.submit(s.Queued, s.Labels...)
	}
}

func (r *replayer) replay(e exchange) {
	ctx := r.t.Context()
	if e.ClientClosed {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(e.MS)*time.Millisecond)
		defer cancel()
		e.Body = fmt.Sprintf(pollOf, 30, 10, 5)
		e.Headers = map[string]string{"authorization": "Bearer sf_pt_", "content-type": "application/json"}
		began := time.Now()
		r.doIn(ctx, r.request(e))
		require.Less(r.t, time.Since(began), 5*time.Second, "a poll ends with its client")
		return
	}
	if strings.HasSuffix(e.Path, "/demand/poll") {
		r.demand(e)
	}
	rec := r.doIn(ctx, r.request(e))
	require.Equal(r.t, e.Status, rec.Code, "%s %s: %s", e.Method, e.Path, rec.Body)
	recorded, got := decode(r.t, []byte(e.Res)), decode(r.t, rec.Body.Bytes())
	require.Equal(r.t, plain(recorded), plain(got), "%s %s", e.Method, e.Path)
	r.learn(recorded, got, "")
}

func TestConversations(t *testing.T) {
	for g, lines := range map[queue.Generation]int{queue.GenerationHead: 37, queue.GenerationERT: 17, queue.GenerationPR: 12} {
		t.Run(string(g), func(t *testing.T) {
			exchanges := readExchanges(t, "shipfox-"+string(g)+".jsonl")
			require.Len(t, exchanges, lines, "every exchange is replayed")
			synctest.Test(t, func(t *testing.T) {
				r := newReplayer(t, g)
				for _, e := range exchanges {
					r.replay(e)
				}
			})
		})
	}
}

// TestConversationAfterARestart replays a provisioner that came back to a hundred
// runners which never enrolled; they are made here first.
func TestConversationAfterARestart(t *testing.T) {
	exchanges := readExchanges(t, "shipfox-restart.jsonl")
	require.Len(t, exchanges, 11)
	synctest.Test(t, func(t *testing.T) {
		r := newReplayer(t, queue.GenerationHead)
		r.before(exchanges)
		for _, e := range exchanges {
			r.replay(e)
		}
	})
}

func (r *replayer) before(exchanges []exchange) {
	var (
		assignment struct {
			Reservation string `json:"reservation_id"`
		}
		report struct {
			Events []struct {
				Instance string `json:"runner_instance_id"`
				Provider string `json:"provider_runner_id"`
			}
		}
	)
	for _, e := range exchanges {
		switch {
		case strings.HasSuffix(e.Path, "/assignments"):
			require.NoError(r.t, json.Unmarshal([]byte(e.Body), &assignment))
		case strings.HasSuffix(e.Path, "/report"):
			require.NoError(r.t, json.Unmarshal([]byte(e.Body), &report))
		}
	}
	require.Len(r.t, report.Events, 100)
	r.submit(100, "sleep")
	_, polled := r.post("/provisioners/demand/poll", r.provisioner, strings.Replace(fmt.Sprintf(pollOf, 0, 100, 100), "probe", "sleep", 1))
	reservation := polled["reservations"].([]any)[0].(map[string]any)["reservation_id"].(string)
	r.ours[assignment.Reservation] = reservation
	entry := fmt.Sprintf(`{"template_key":"sleeper","reservation_id":%q},`, reservation)
	_, batch := r.post("/provisioners/runner-instances/batch", r.provisioner, `{"runner_instances":[`+strings.TrimSuffix(strings.Repeat(entry, 100), ",")+`]}`)
	for i, instance := range batch["runner_instances"].([]any) {
		id := instance.(map[string]any)["runner_instance_id"].(string)
		r.ours[report.Events[i].Instance] = id
		status, _ := r.post("/provisioners/runner-instances/"+id+"/provider-runner", r.provisioner, fmt.Sprintf(`{"provider_runner_id":%q}`, report.Events[i].Provider))
		require.Equal(r.t, http.StatusOK, status)
	}
}
