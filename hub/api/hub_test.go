package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is all that the API needs, and a runner's side by the queue's own methods.
type hub struct {
	t       *testing.T
	queue   *queue.Queue
	logs    *logs.Store
	handler *api.Server
	mux     *http.ServeMux // of the server
	server  *httptest.Server
	client  *http.Client
	token   string
	full    bool
}

func newHub(t *testing.T, adjust ...func(*api.Config)) *hub {
	t.Helper()
	h := &hub{t: t}
	dir := storetest.Dir(t)
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	h.queue, err = queue.New(t.Context(), queue.Config{Store: db, StorageFull: func() bool { return h.full }})
	require.NoError(t, err)
	h.logs, err = logs.New(logs.Config{Dir: dir + "/logs", Limit: 4096, PartBytes: 512})
	require.NoError(t, err)
	admin, made, err := api.FirstAdmin(t.Context(), h.queue)
	require.NoError(t, err)
	require.True(t, made)
	h.token = admin.Reveal()
	cfg := api.Config{Queue: h.queue, Logs: h.logs}
	for _, a := range adjust {
		a(&cfg)
	}
	h.handler, err = api.New(cfg)
	require.NoError(t, err)
	h.mux = http.NewServeMux()
	h.mux.Handle("/", h.handler)
	h.server = httptest.NewServer(h.mux)
	h.client = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		h.server.Close()
	})
	return h
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (h *hub) do(method, path string, body any, headers ...string) answer {
	h.t.Helper()
	var in io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(body)
	default:
		text, err := json.Marshal(body)
		require.NoError(h.t, err)
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+"/api/v1/"+path, in)
	require.NoError(h.t, err)
	req.Header.Set("Authorization", "Bearer "+h.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := h.client.Do(req)
	require.NoError(h.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

// into reads the JSON of an answer with this status.
func (h *hub) into(status int, a answer, out any) {
	h.t.Helper()
	require.Equal(h.t, status, a.status, "%s", a.body)
	require.NoError(h.t, json.Unmarshal([]byte(a.body), out), "%s", a.body)
}

// problem asserts a problem document of this type.
func (h *hub) problem(status int, code string, a answer) api.Problem {
	h.t.Helper()
	require.Equal(h.t, status, a.status, "%s", a.body)
	require.Equal(h.t, "application/problem+json", a.header.Get("Content-Type"))
	var p api.Problem
	require.NoError(h.t, json.Unmarshal([]byte(a.body), &p))
	require.Equal(h.t, "urn:slipway:problem:"+code, p.Type)
	require.Equal(h.t, status, p.Status)
	require.NotEmpty(h.t, p.Title)
	require.NotEmpty(h.t, p.Detail)
	return p
}

func (h *hub) submit(spec api.JobSpec) api.Job {
	h.t.Helper()
	var job api.Job
	h.into(http.StatusCreated, h.do("POST", "jobs", spec), &job)
	return job
}

// claim does what a runner does until it holds a lease.
func (h *hub) claim(labels ...string) queue.Claim {
	h.t.Helper()
	ctx := h.t.Context()
	_, secret, err := h.queue.CreateToken(ctx, queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(h.t, err)
	session, err := h.queue.Register(ctx, secret.Reveal(), labels)
	require.NoError(h.t, err)
	claim, found, err := h.queue.Claim(ctx, session.Token, true)
	require.NoError(h.t, err)
	require.True(h.t, found, "no job waits")
	return claim
}

func (h *hub) append(c queue.Claim, offset int64, text string) {
	h.t.Helper()
	_, err := h.logs.Append(logs.Key{Job: c.JobID, Attempt: c.Attempt}, offset, []byte(text))
	require.NoError(h.t, err)
	h.queue.Notify(queue.TopicJob(c.JobID))
}

func (h *hub) finish(c queue.Claim, outcome queue.Outcome, exit int) {
	h.t.Helper()
	require.NoError(h.t, h.queue.Finish(h.t.Context(), c.LeaseToken, queue.Result{Outcome: outcome, ExitCode: &exit}))
}

// claimAs does what the runner of a loop does that has this id, until it has a job.
func (h *hub) claimAs(id string, labels ...string) queue.Claim {
	h.t.Helper()
	ctx := h.t.Context()
	_, secret, err := h.queue.CreateToken(ctx, queue.TokenSpec{Kind: tokens.Provisioner})
	require.NoError(h.t, err)
	p, err := h.queue.AuthenticateProvisioner(ctx, secret.Reveal())
	require.NoError(h.t, err)
	answer, err := h.queue.Poll(ctx, p, queue.PollRequest{Max: 1, Slots: []grant.Slots{{Key: "t", Labels: labels, Free: 1}}})
	require.NoError(h.t, err)
	require.Len(h.t, answer.Reservations, 1)
	minted, err := h.queue.Mint(ctx, p, []queue.InstanceRequest{{Reservation: answer.Reservations[0].ID, ProviderID: id}})
	require.NoError(h.t, err)
	control, err := h.queue.Exchange(ctx, minted[0].Token.Reveal())
	require.NoError(h.t, err)
	activation, err := h.queue.Enrol(ctx, control.Token.Reveal(), queue.Enrolment{Labels: labels, Kind: "test"})
	require.NoError(h.t, err)
	session, err := h.queue.Register(ctx, activation.Reveal(), labels)
	require.NoError(h.t, err)
	claim, found, err := h.queue.Claim(ctx, session.Token, true)
	require.NoError(h.t, err)
	require.True(h.t, found)
	return claim
}
