package enrolapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

const (
	agentA = "0192f0c1-6f3e-7a55-8a3e-0a4d2f7b9c11"
	agentB = "0192f0c1-6f3e-7a55-8a3e-0a4d2f7b9c22"
)

// world is a registry with its store.
type world struct {
	*hosts.Registry
	t *testing.T
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Dir: storetest.Dir(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	r, err := hosts.New(t.Context(), hosts.Config{Store: db, PublicURL: "https://ci.example.com"})
	require.NoError(t, err)
	return &world{r, t}
}

func (w *world) add(spec hosts.HostSpec) (hosts.Host, hosts.Invitation) {
	w.t.Helper()
	h, i, err := w.Add(w.t.Context(), spec)
	require.NoError(w.t, err)
	return h, i
}

// post sends a body to Handler.
func (w *world) post(authorization, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, Path, strings.NewReader(body))
	req.Host = "evil.example.com"
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	answer := httptest.NewRecorder()
	Handler(w, hclog.NewNullLogger()).ServeHTTP(answer, req)
	return answer
}

func body(agent string, digest tokens.Digest) string {
	b, _ := json.Marshal(Request{Agent: agent, Digest: digest.String(), Version: "v1.2.0"})
	return string(b)
}

func TestHandler(t *testing.T) {
	w := newWorld(t)
	h, i := w.add(hosts.HostSpec{Name: "a", Labels: map[string]string{"zone": "eu"}})
	digest := tokens.New(tokens.Agent).Digest()
	for range 2 {
		answer := w.post("Bearer "+i.Token.Reveal(), body(agentA, digest))
		require.Equal(t, http.StatusOK, answer.Code, answer.Body)
		require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
		require.JSONEq(t, `{"host": "`+h.ID+`", "name": "a", "owner": "`+h.ID+`", "labels": {"zone": "eu"}}`, answer.Body.String())
	}
	_, next, err := w.Reenrol(t.Context(), "a", hosts.ReenrolSpec{})
	require.NoError(t, err)
	answer := w.post("bearer  "+next.Token.Reveal(), `{"agent": "`+agentA+`", "digest": "`+strings.ToUpper(digest.String())+`", "new": {"field": [1]}}`+"\n")
	require.Equal(t, http.StatusOK, answer.Code, "what a newer agent sends besides is passed over: %s", answer.Body)
}

func TestHandlerRefuses(t *testing.T) {
	w := newWorld(t)
	_, i := w.add(hosts.HostSpec{Name: "a"})
	_, spent := w.add(hosts.HostSpec{Name: "b"})
	_, cancelled := w.add(hosts.HostSpec{Name: "c"})
	require.NoError(t, w.CancelEnrolment(t.Context(), cancelled.ID))
	_, err := w.Enrol(t.Context(), spent.Token, agentB, tokens.New(tokens.Agent).Digest())
	require.NoError(t, err)
	_, other := w.add(hosts.HostSpec{Name: "d"})
	taken := tokens.New(tokens.Agent)
	_, err = w.Enrol(t.Context(), other.Token, agentB, taken.Digest())
	require.NoError(t, err)
	good, digest := "Bearer "+i.Token.Reveal(), tokens.New(tokens.Agent).Digest()
	for name, test := range map[string]struct {
		authorization, body string
		status              int
		code                string
	}{
		"no token":         {"", body(agentA, digest), 401, "unauthorized"},
		"no bearer":        {"Basic " + i.Token.Reveal(), body(agentA, digest), 401, "unauthorized"},
		"of another kind":  {"Bearer " + tokens.New(tokens.Agent).Reveal(), body(agentA, digest), 401, "unauthorized"},
		"garbage":          {"Bearer sf_het_x", body(agentA, digest), 401, "unauthorized"},
		"unknown":          {"Bearer " + tokens.New(tokens.Enrolment).Reveal(), body(agentA, digest), 401, "enrolment-unknown"},
		"cancelled":        {"Bearer " + cancelled.Token.Reveal(), body(agentA, digest), 401, "enrolment-unknown"},
		"another agent":    {"Bearer " + spent.Token.Reveal(), body(agentA, digest), 409, "enrolment-spent"},
		"another's":        {good, body(agentA, taken.Digest()), 409, "credential-taken"},
		"no body":          {good, "", 422, "invalid"},
		"no object":        {good, "[]", 422, "invalid"},
		"two objects":      {good, body(agentA, digest) + "{}", 422, "invalid"},
		"garbage after it": {good, body(agentA, digest) + "}", 422, "invalid"},
		"no agent":         {good, `{"digest": "` + digest.String() + `"}`, 422, "invalid"},
		"a short digest":   {good, `{"agent": "` + agentA + `", "digest": "00"}`, 422, "invalid"},
		"a zero digest":    {good, body(agentA, tokens.Digest{}), 422, "invalid"},
		"a long version":   {good, `{"agent": "` + agentA + `", "digest": "` + digest.String() + `", "version": "` + strings.Repeat("v", form.MaxVersionLength+1) + `"}`, 422, "invalid"},
		"too large":        {good, `{"agent": "` + strings.Repeat("a", mostBody) + `"}`, 413, "too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.post(test.authorization, test.body)
			require.Equal(t, test.status, answer.Code, answer.Body)
			require.Equal(t, "application/problem+json", answer.Header().Get("Content-Type"))
			require.Equal(t, test.status == 401, answer.Header().Get("WWW-Authenticate") == "Bearer")
			var p problem
			require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &p))
			require.Equal(t, "urn:slipway:problem:"+test.code, p.Type)
			require.Equal(t, test.status, p.Status)
			require.NotContains(t, answer.Body.String(), "sf_het_x")
			require.NotContains(t, answer.Body.String(), i.Token.Reveal())
			require.NotContains(t, answer.Body.String(), digest.String())
		})
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path, nil)
	answer := httptest.NewRecorder()
	Handler(w, hclog.NewNullLogger()).ServeHTTP(answer, req)
	require.Equal(t, http.StatusMethodNotAllowed, answer.Code)
	require.Equal(t, http.StatusOK, w.post(good, body(agentA, digest)).Code, "none of it used the enrolment up")
}

func FuzzEnrolBody(f *testing.F) {
	f.Add(body(agentA, tokens.New(tokens.Agent).Digest()))
	f.Add(`{"agent": 1}`)
	f.Add(`{"agent": "` + agentA + `", "digest": "` + strings.Repeat("0", 63) + `1"} {`)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		req, digest, err := decode(strings.NewReader(text))
		if err != nil {
			if len(text) > 40 && strings.Contains(err.Error(), text) {
				t.Fatalf("the error repeats the body: %v", err)
			}
			return
		}
		if digest == (tokens.Digest{}) || len(req.Version) > form.MaxVersionLength || !strings.EqualFold(req.Digest, digest.String()) {
			t.Fatalf("%q was let through as %+v", text, req)
		}
		again, same, err := decode(strings.NewReader(body(req.Agent, digest)))
		if err != nil || again.Agent != req.Agent || same != digest {
			t.Fatalf("%q is not read as it is written: %v", text, err)
		}
	})
}
