package shipfoxapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/edge"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/shipfoxapi"
	"github.com/slipway-ci/slipway/tokens"
)

// Another generation's routes are not found.
func TestEachGenerationHasItsRoutes(t *testing.T) {
	routes := map[string]string{
		"GET /provisioners/me":                                           "head ert pr",
		"POST /provisioners/demand/poll":                                 "head ert pr",
		"POST /provisioners/runner-instances/batch":                      "head",
		"POST /provisioners/runner-instances/" + id + "/provider-runner": "head",
		"POST /provisioners/runner-instances/assignments":                "head",
		"POST /provisioners/runner-instances/report":                     "head ert",
		"POST /provisioners/runner-instances/reconcile":                  "head ert",
		"POST /provisioners/provisioned-runners/report":                  "pr",
		"POST /provisioners/provisioned-runners/reconcile":               "pr",
		"POST /provisioners/runner-registration-tokens/batch":            "ert pr",
		"POST /provisioners/capacity":                                    "",
		"DELETE /provisioners/me":                                        "",
	}
	for _, g := range []queue.Generation{queue.GenerationHead, queue.GenerationERT, queue.GenerationPR} {
		w := newWorld(t, g)
		for pattern, generations := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			rec := w.do(request{method: method, path: path, auth: "Bearer " + w.provisioner, body: `{}`})
			if strings.Contains(" "+generations+" ", " "+string(g)+" ") {
				require.NotEqual(t, http.StatusNotFound, rec.Code, "%s for %s: %s", pattern, g, rec.Body)
			} else {
				require.Equal(t, http.StatusNotFound, rec.Code, "%s for %s", pattern, g)
				require.JSONEq(t, `{"code":"not-found"}`, rec.Body.String())
			}
			anonymous := w.do(request{method: method, path: path, body: `{}`})
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusNotFound}, anonymous.Code, "%s without a token", pattern)
		}
	}
}

const id = "4f278286-f039-4e18-bd44-7967a0b80fb9"

func TestWhatBecameOfAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, queue.GenerationHead)
		me := func(secret tokens.Token) string {
			rec := w.do(request{method: http.MethodGet, path: "/provisioners/me", auth: "Bearer " + secret.Reveal()})
			if rec.Code == http.StatusOK {
				return "ok"
			}
			require.Equal(t, http.StatusUnauthorized, rec.Code)
			return rec.Body.String()
		}
		create := func(kind tokens.Kind, life time.Duration) (queue.Token, tokens.Token) {
			token, secret, err := w.queue.CreateToken(t.Context(), queue.TokenSpec{Kind: kind, Lifetime: life})
			require.NoError(t, err)
			return token, secret
		}
		token, revoked := create(tokens.Provisioner, 0)
		_, expired := create(tokens.Provisioner, time.Minute)
		manual, register := create(tokens.ManualRegistration, 0)
		require.Equal(t, "ok", me(revoked))
		require.Equal(t, "ok", me(expired))
		for _, id := range []string{token.ID, manual.ID} {
			_, err := w.queue.RevokeToken(t.Context(), id)
			require.NoError(t, err)
		}
		time.Sleep(time.Minute)
		require.JSONEq(t, `{"code":"provisioner-token-revoked"}`, me(revoked))
		require.JSONEq(t, `{"code":"provisioner-token-expired"}`, me(expired))

		status, body := w.post("/runners/register", register.Reveal(), `{"labels":["a"]}`)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, map[string]any{"code": "manual-registration-token-revoked"}, body)
		w.submit(1, "probe")
		ert := w.token(tokens.Provisioner, queue.GenerationERT)
		minted := w.mintOne(ert)
		time.Sleep(5 * time.Minute)
		status, body = w.post("/runners/register", minted, `{"labels":["probe"]}`)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, map[string]any{"code": "registration-token-expired"}, body)
	})
}

// mintOne polls for one job of the label probe and mints a registration token.
func (w *world) mintOne(provisioner string) string {
	w.t.Helper()
	_, polled := w.post("/provisioners/demand/poll", provisioner, fmt.Sprintf(pollOf, 0, 10, 5))
	require.Len(w.t, polled["reservations"], 1)
	reservation := polled["reservations"].([]any)[0].(map[string]any)["reservation_id"].(string)
	_, minted := w.post("/provisioners/runner-registration-tokens/batch", provisioner, mintOf(reservation, "provider_runner_id", "runner_instances", "x"))
	require.Len(w.t, minted["tokens"], 1, "%v", minted)
	return minted["tokens"].([]any)[0].(map[string]any)["registration_token"].(string)
}

// Only failed attempts are limited, by the hub's edge: many runners may start behind
// one address.
func TestOnlyFailuresAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, queue.GenerationHead)
		w.handler = edge.New(edge.Config{}, w.handler)
		unknown := tokens.New(tokens.ManualRegistration).Reveal()
		refused := 0
		for range 200 {
			status, _ := w.post("/runners/register", w.manual, `{"labels":["a"]}`)
			require.Equal(t, http.StatusOK, status)
			status, body := w.post("/runners/register", unknown, `{"labels":["a"]}`)
			if status == http.StatusTooManyRequests {
				require.Equal(t, "rate-limited", body["code"])
				refused++
			} else {
				require.Equal(t, http.StatusUnauthorized, status)
			}
		}
		require.Equal(t, 80, refused, "120 a minute are answered")
		time.Sleep(time.Minute)
		status, _ := w.post("/runners/register", unknown, `{"labels":["a"]}`)
		require.Equal(t, http.StatusUnauthorized, status)
	})
}

func TestTheRunnersListenerServesRunnersOnly(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	api, err := shipfoxapi.New(shipfoxapi.Config{Queue: w.queue})
	require.NoError(t, err)
	w.handler = api.RunnerHandler()
	rec := w.do(request{method: http.MethodGet, path: "/provisioners/me", auth: "Bearer " + w.provisioner})
	require.Equal(t, http.StatusNotFound, rec.Code)
	status, _ := w.post("/runners/register", w.manual, `{"labels":["a"]}`)
	require.Equal(t, http.StatusOK, status)
}

func TestBodiesThatAreNoJSON(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	for name, test := range map[string]struct {
		contentType, body string
		status            int
		want              string
	}{
		"none at all":       {"-", "", 400, `{"code":"validation-error","message":"[body] Invalid input: expected object, received undefined"}`},
		"an array":          {"", "[]", 400, `{"code":"validation-error","message":"[body] Invalid input: expected object, received array"}`},
		"null":              {"", "null", 400, `{"code":"validation-error","message":"[body] Invalid input: expected object, received null"}`},
		"two values":        {"", "{}{}", 400, `{"code":"invalid-json-body"}`},
		"a form":            {"application/x-www-form-urlencoded", "a=b", 415, `{"code":"unsupported-media-type"}`},
		"a charset is fine": {"application/json; charset=utf-8", `{"bootstrap_token":"x"}`, 401, `{"code":"runner-bootstrap-token-invalid"}`},
		"too large":         {"", `{"bootstrap_token":"` + strings.Repeat("x", 1<<20) + `"}`, 413, `{"code":"body-too-large"}`},
	} {
		t.Run(name, func(t *testing.T) {
			rec := w.do(request{method: http.MethodPost, path: "/runner-enrollment/exchange", contentType: test.contentType, body: test.body})
			require.Equal(t, test.status, rec.Code)
			require.JSONEq(t, test.want, rec.Body.String())
		})
	}
}

func TestHeartbeatsOfALease(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	job, err := w.queue.Submit(t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "true"})
	require.NoError(t, err)
	_, session := w.post("/runners/register", w.manual, `{"labels":["a"],"capabilities":{"harnesses":{"pi":{"tools":["x","y"]}}}}`)
	_, claim := w.post("/runners/jobs/request", session["session_token"].(string), `{}`)
	require.Equal(t, job.ID, claim["job_id"])
	lease := claim["lease_token"].(string)
	beat := func(job, token, body string) (int, any) {
		status, answer := w.post("/runners/jobs/"+job+"/heartbeat", token, body)
		if answer["code"] != nil {
			return status, answer["code"]
		}
		return status, answer["cancel"]
	}
	for _, test := range []struct {
		job, token, body string
		status           int
		want             any
	}{
		{job.ID, lease, `{}`, 200, false},
		{job.ID, lease, `{"capabilities":{"harnesses":{}}}`, 200, false},
		{job.ID, lease, `{"foo":1}`, 400, "validation-error"},
		{job.ID, lease, `{"capabilities":{"harnesses":{"pi":{"tools":["x","x"]}}}}`, 400, "validation-error"},
		{"nope", lease, `{}`, 400, "validation-error"},
		{id, lease, `{}`, 404, "lease-job-mismatch"},
		{job.ID, session["session_token"].(string), `{}`, 401, "unauthorized"},
	} {
		status, got := beat(test.job, test.token, test.body)
		require.Equal(t, test.status, status, "%+v", test)
		require.Equal(t, test.want, got, "%+v", test)
	}
	_, err = w.queue.Cancel(t.Context(), job.ID)
	require.NoError(t, err)
	status, got := beat(job.ID, lease, `{}`)
	require.Equal(t, []any{200, true}, []any{status, got})
	require.NoError(t, w.queue.Finish(t.Context(), lease, queue.Result{Outcome: queue.OutcomeCancelled}))
	status, got = beat(job.ID, lease, `{}`)
	require.Equal(t, []any{404, "running-job-execution-not-found"}, []any{status, got})

	_, once := w.post("/runners/jobs/request", session["session_token"].(string), `{}`)
	require.Nil(t, once, "a manual session asks again and again")
}

// A client that goes away before the answer is there must not keep a promise.
func TestAClientThatHangsUpKeepsNothing(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	served := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.handler.ServeHTTP(rw, r)
		served <- struct{}{}
	}))
	defer server.Close()
	body := fmt.Sprintf(pollOf, 30, 10, 5)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "POST /provisioners/demand/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		w.provisioner, len(body), body)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	<-served // the poll ended long before its 30 s
	w.submit(1, "probe")
	_, answer := w.post("/provisioners/demand/poll", w.provisioner, fmt.Sprintf(pollOf, 0, 10, 5))
	require.Len(t, answer["reservations"], 1, "the job is there for the next poll")
}

// The answer of a poll that was granted something, to a client that is gone.
func TestAnAnswerThatCouldNotBeDeliveredIsGivenBack(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	w.submit(2, "probe")
	ctx, cancel := context.WithCancel(t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/provisioners/demand/poll", strings.NewReader(fmt.Sprintf(pollOf, 0, 10, 5)))
	req.Header.Set("Authorization", "Bearer "+w.provisioner)
	req.Header.Set("Content-Type", "application/json")
	gone := &hangUp{ResponseRecorder: httptest.NewRecorder(), cancel: cancel}
	w.handler.ServeHTTP(gone, req)
	require.Contains(t, gone.Body.String(), `"count":2`, "it was about to be told of two")
	_, answer := w.post("/provisioners/demand/poll", w.provisioner, fmt.Sprintf(pollOf, 0, 10, 5))
	require.Len(t, answer["reservations"], 1)
	require.EqualValues(t, 2, answer["newly_reserved_count"])
}

// When the hub stops, its long polls end: that is no fault, and asks for another try.
func TestAPollThatIsEndedIsToComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, queue.GenerationHead)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/provisioners/demand/poll", strings.NewReader(fmt.Sprintf(pollOf, 30, 10, 5)))
		req.Header.Set("Authorization", "Bearer "+w.provisioner)
		req.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, req)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.JSONEq(t, `{"code":"server-stopping"}`, answer.Body.String())
	})
}

// hangUp is a client that goes away while it is written to.
type hangUp struct {
	*httptest.ResponseRecorder
	cancel func()
}

func (h *hangUp) Write(p []byte) (int, error) {
	h.cancel()
	n, _ := h.ResponseRecorder.Write(p)
	return n, syscall.EPIPE
}

// Nor does a client lose what it was promised that reads the answer and closes its
// connection, as curl does: net/http ends the request's context then, too.
func TestAClientWithoutKeepAliveKeepsWhatItWasPromised(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	server := httptest.NewServer(w.handler)
	defer server.Close()
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(path, body string) (answer struct {
		Reservations []struct {
			ID string `json:"reservation_id"`
		}
		Instances []any `json:"runner_instances"`
	}) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+w.provisioner)
		req.Header.Set("Content-Type", "application/json")
		res, err := once.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
		return answer
	}
	for i := range 50 {
		w.submit(1, "probe")
		promised := post("/provisioners/demand/poll", fmt.Sprintf(pollOf, 0, 10, 5)).Reservations
		require.Len(t, promised, 1)
		minted := post("/provisioners/runner-instances/batch", fmt.Sprintf(`{"runner_instances":[{"template_key":"t","reservation_id":%q}]}`, promised[0].ID))
		require.Len(t, minted.Instances, 1, "round %d", i)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
	api, err := shipfoxapi.New(shipfoxapi.Config{Queue: w.queue, Logger: logger})
	require.NoError(t, err)
	w.handler = api.Handler()
	require.NoError(t, w.queue.Store().Close()) // so that all goes wrong, and is logged
	for _, token := range []string{w.provisioner, w.manual, tokens.New(tokens.ControlSession).Reveal()} {
		for _, path := range []string{"/provisioners/runner-instances/batch", "/runners/register", "/runner-control/heartbeat", "/runner-enrollment/exchange"} {
			w.do(request{method: http.MethodPost, path: path, auth: "Bearer " + token, body: fmt.Sprintf(`{"labels":["a"],"bootstrap_token":%q}`, token)})
		}
	}
	require.Contains(t, log.String(), "request failed")
	require.NotContains(t, log.String(), w.provisioner[20:])
	require.NotContains(t, log.String(), w.manual[20:])
}

func TestAThousandTemplatesAreQuick(t *testing.T) {
	w := newWorld(t, queue.GenerationHead)
	for i := range 50 {
		w.submit(1, fmt.Sprint("l", i*7))
	}
	body := pollTemplates(1000)
	best := time.Hour
	for range 20 { // of a busy machine one try may say nothing
		if best < 500*time.Millisecond {
			break
		}
		began := time.Now()
		status, _ := w.post("/provisioners/demand/poll", w.provisioner, body)
		best = min(best, time.Since(began))
		require.Equal(t, http.StatusOK, status)
	}
	require.Less(t, best, 500*time.Millisecond, "the real server takes 142 ms; this is the race detector's")
}

func BenchmarkSubmitToGrant(b *testing.B) {
	w := newWorld(b, queue.GenerationHead)
	server := httptest.NewServer(w.handler)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(b, err)
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	body := fmt.Sprintf(pollOf, 30, 1000, 100_000)
	for b.Loop() {
		_, err := fmt.Fprintf(conn, "POST /provisioners/demand/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			w.provisioner, len(body), body)
		require.NoError(b, err)
		_, err = w.queue.Submit(b.Context(), queue.JobSpec{Labels: []string{"probe"}, Run: "true"})
		require.NoError(b, err)
		res, err := http.ReadResponse(reader, nil)
		require.NoError(b, err)
		var answer map[string]any
		require.NoError(b, json.NewDecoder(res.Body).Decode(&answer))
		require.NoError(b, res.Body.Close())
		require.Len(b, answer["reservations"], 1)
	}
}
