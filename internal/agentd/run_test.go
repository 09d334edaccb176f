package agentd

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent/policy"
	"github.com/slipway-ci/slipway/internal/agentd/engine"
	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/tokens"
)

// launch starts a runner that sleeps, or ends at once.
func launch(t *testing.T, c *conn, request int, command ...string) (id string) {
	t.Helper()
	made, err := uuid.NewV7()
	require.NoError(t, err)
	answer := c.ask(frame{"type": "launch", "id": request, "timeout_ms": 20000, "spec": frame{"id": made.String(), "command": command, "env": frame{"PATH": os.Getenv("PATH")}}})
	require.Nil(t, answer["error"], "%v", answer)
	return made.String()
}

// told waits until the runner was told in a state.
func told(c *conn, id, state string) {
	c.hub.t.Helper()
	meant := func(f frame) bool {
		for _, kind := range []string{"runners", "changes"} {
			part, _ := f[kind].(map[string]any)
			list, _ := part["runners"].([]any)
			if slices.ContainsFunc(list, func(r any) bool {
				m, _ := r.(map[string]any)
				return m["id"] == id && m["state"] == state
			}) {
				return true
			}
		}
		return false
	}
	if !slices.ContainsFunc(c.passed, meant) { // on the way to an answer, maybe
		c.wait("runner "+id+" "+state, meant)
	}
}

func TestRunServesTheHub(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	a := start(t, data)
	c := h.session()
	folder, err := identity.Find(data)
	require.NoError(t, err)
	who, err := folder.Identity()
	require.NoError(t, err)
	require.Equal(t, who.Agent, c.hello.text("hello", "agent"))
	require.Equal(t, "process", c.hello.text("hello", "facts", "hints", "backend"))
	c.wait("the full list", func(f frame) bool { return f.text("type") == "runners" })
	id := launch(t, c, 1, "sleep", "600")
	told(c, id, "running")

	second := start(t, data)
	require.ErrorIs(t, second.ended(), identity.ErrLocked, "two agents never share a data folder")

	a.stop()
	require.NoError(t, a.ended())
	require.NoFileExists(t, filepath.Join(data, "status.json"))
	start(t, data)
	c = h.session()
	told(c, id, "running") // it went on without its agent
	require.Nil(t, c.ask(frame{"type": "remove", "id": 2, "timeout_ms": 20000, "runner": id})["error"])
}

func TestRunNeedsAnEnrolment(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	err := start(t, data).ended()
	require.ErrorIs(t, err, identity.ErrNotEnrolled)
	require.ErrorContains(t, err, "slipway-agent enrol")
}

func TestLocalAgent(t *testing.T) {
	h := newHub(t)
	token := tokens.New(tokens.Agent)
	h.set(func() { h.digests[token.Digest().String()] = true })
	data := filepath.Join(t.TempDir(), "data")
	local := func(c *Config) { c.LocalToken, c.Hub = token, h.url() }
	a := start(t, data, local)
	c := h.session()
	first := c.hello.text("hello", "agent")
	facts, _ := c.hello["hello"].(map[string]any)["facts"].(map[string]any)
	require.Equal(t, true, facts["update_forbidden"], "no key is pinned")
	require.Contains(t, c.hello.text("hello", "facts", "hints", "update_forbidden"), "update-key.pub")
	require.Equal(t, "unsupported", c.ask(frame{"type": "rotate", "id": 1, "timeout_ms": 5000}).text("error", "code"), "its token is not its own to change")
	a.stop()
	require.NoError(t, a.ended())
	start(t, data, local)
	require.Equal(t, first, h.session().hello.text("hello", "agent"), "the same agent after a restart")
	require.NoFileExists(t, filepath.Join(data, "token"))
	entries, err := os.ReadDir(data)
	require.NoError(t, err)
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(data, e.Name())); err == nil {
			require.NotContains(t, string(text), token.Reveal(), "%s", e.Name())
		}
	}
}

func TestRotation(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	start(t, data)
	c := h.session()
	old := c.digest
	answer := c.ask(frame{"type": "rotate", "id": 1, "timeout_ms": 5000})
	next := answer.text("digest")
	require.Regexp(t, `^[0-9a-f]{64}$`, next)
	require.NotEqual(t, old, next)

	// The hub has lost the answer: the old credential serves on.
	h.hangUp()
	c = h.session()
	require.Equal(t, old, c.digest)
	require.Equal(t, next, c.ask(frame{"type": "rotate", "id": 1, "timeout_ms": 5000}).text("digest"), "and the same is told again")
	h.set(func() { h.digests[next] = true })
	c.send(frame{"type": "bye", "error": frame{"code": "rotated", "message": "come back"}})
	c = h.session()
	require.Equal(t, next, c.digest)
	h.set(func() { delete(h.digests, old) })
	folder, err := identity.Find(data)
	require.NoError(t, err)
	eventually(t, func() bool { token, err := folder.Token(); return err == nil && token.Digest().String() == next }, "it becomes the one in use")
	require.NoFileExists(t, filepath.Join(data, "token.next"))
}

func TestARemovedHost(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	a := start(t, data, func(c *Config) { c.HTTPAddr = "127.0.0.1:0" })
	c := h.session()
	file := filepath.Join(t.TempDir(), "end")
	runs, done := launch(t, c, 1, "sh", "-c", "until [ -e "+file+" ]; do sleep 0.05; done"), launch(t, c, 2, "true")
	told(c, done, "exited")
	h.set(func() { h.removed = true })
	h.hangUp()
	eventually(t, func() bool {
		return strings.Contains(a.log.String(), "purge --all --with-data --data "+data+" --backend process")
	}, "it says how to purge itself")
	runners := func() []string {
		list, err := filepath.Glob(filepath.Join(data, runnersName, "*", "*", "state.json"))
		require.NoError(t, err)
		return list
	}
	eventually(t, func() bool { return len(runners()) == 1 }, "what has ended is removed, and what runs goes on: %v", runners())
	require.Contains(t, runners()[0], runs)
	status, body := get(t, a, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "removed this host")
	now, err := Config{Data: data}.status()
	require.NoError(t, err)
	require.True(t, now.Running, "it stays, and ends what outlives its lifetime")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	eventually(t, func() bool { return len(runners()) == 0 }, "what ends later is removed too")

	// Enrolled anew it begins again, by itself.
	h.set(func() { h.once, h.agent, h.removed = tokens.New(tokens.Enrolment), "", false })
	h.set(func() {
		h.enrol = func(w http.ResponseWriter) bool {
			_ = json.NewEncoder(w).Encode(map[string]any{"host": "host-2", "name": "builder-02", "owner": "owner-2"})
			return true
		}
	})
	_, err = Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once})
	require.NoError(t, err)
	var restart *Restart
	require.ErrorAs(t, a.ended(), &restart)
	require.Equal(t, "enrolled anew", restart.Reason)
}

// get asks the agent's own routes.
func get(t *testing.T, a *running, path string) (int, string) {
	t.Helper()
	address := regexp.MustCompile(`health and metrics: address=(\S+)`)
	eventually(t, func() bool { return address.MatchString(a.log.String()) }, "no address is told")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address.FindStringSubmatch(a.log.String())[1]+path, nil)
	require.NoError(t, err)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(text)
}

func TestHealthAndMetrics(t *testing.T) {
	h := newHub(t)
	h.set(func() { h.deaf = true })
	a := start(t, h.enrolHere(t), func(c *Config) { c.HTTPAddr = "127.0.0.1:0" })
	status, body := get(t, a, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "no session with "+h.url())
	status, _ = get(t, a, "/healthz")
	require.Equal(t, http.StatusOK, status, "no hub is no reason to restart the agent")
	h.set(func() { h.deaf = false })
	c := h.session()
	launch(t, c, 1, "true")
	eventually(t, func() bool { status, _ := get(t, a, "/readyz"); return status == http.StatusOK }, "never ready")
	_, body = get(t, a, "/metrics")
	for _, line := range []string{"slipway_agent_connected 1", "slipway_agent_engine_up 1", `slipway_agent_launches_total{outcome="started"} 1`, "slipway_agent_sessions_total 1"} {
		require.Contains(t, body, line)
	}
	_, body = get(t, a, "/status")
	require.Contains(t, body, `"connected": true`)
}

func TestAnEngineThatIsDown(t *testing.T) {
	h := newHub(t)
	socket := filepath.Join(t.TempDir(), "docker.sock")
	a := start(t, h.enrolHere(t), func(c *Config) { c.Backend, c.DockerHost = "docker", "unix://"+socket })
	c := h.session()
	c.wait("that it is blind", func(f frame) bool { return f.text("type") == "blind" })
	require.Contains(t, a.log.String(), "the engine can't be seen")
	require.Equal(t, "unavailable", c.ask(frame{"type": "launch", "id": 1, "timeout_ms": 5000, "spec": frame{"id": uuid.Must(uuid.NewV7()).String(), "image": "x"}}).text("error", "code"))
}

func TestAnAuthorityOfOnesOwn(t *testing.T) {
	h := newHub(t)
	secure := httptest.NewTLSServer(h.server.Config.Handler)
	t.Cleanup(func() { // sessions first
		h.hangUp()
		secure.Close()
	})
	data := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	e := Enrolment{Data: data, Hub: secure.URL, Token: h.once, Patience: time.Millisecond}
	_, err := Enrol(t.Context(), e)
	require.ErrorContains(t, err, "certificate")
	e.CAFile = file
	_, err = Enrol(t.Context(), e)
	require.NoError(t, err)
	start(t, data, func(c *Config) { c.CAFile = file })
	h.session()
	e.CAFile = os.DevNull
	_, err = Enrol(t.Context(), e)
	require.ErrorContains(t, err, "holds no certificate")
}

func TestStats(t *testing.T) {
	h := newHub(t)
	start(t, h.enrolHere(t))
	c := h.session()
	answer := c.ask(frame{"type": "stats", "id": 1, "timeout_ms": 10000})
	require.Nil(t, answer["error"])
	stats, _ := answer["stats"].(map[string]any)
	disk, _ := stats["disk"].(map[string]any)
	require.Positive(t, disk["total"])
	require.Positive(t, stats["memory"])
}

func TestTheSignOfAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := engine.Open(engine.Config{Kind: "process", Owner: "me", Dir: t.TempDir(), Program: "/bin/false", Rules: policy.Default()})
		require.NoError(t, err)
		p := &program{engine: e}
		time.Sleep(stuck - time.Second)
		require.True(t, p.alive())
		time.Sleep(2 * time.Second)
		require.False(t, p.alive())
	})
}
