package standalone

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/internal/standalone/foxtest"
	"github.com/slipway-ci/slipway/tokens"
)

const oneTemplate = "templates:\n  small:\n    labels: [linux]\n    image: busybox\n    cpu: 1\n    memory: 64m\n    max_concurrency: 3\n"

// api is a service that answers the little that a start needs; routes say more.
type api struct {
	*httptest.Server
	generation string
	refuse     atomic.Bool // the token
	hurt       atomic.Bool // every answer is a 500
	wait       time.Duration
	polls      atomic.Int64
	asked      atomic.Value // string: the body of the last poll
}

func newAPI(t *testing.T, generation string) *api {
	a := &api{generation: generation, wait: 50 * time.Millisecond}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // else the end of the connection is not noticed
	say := func(status int, text string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	switch path := r.URL.Path; {
	case a.refuse.Load():
		say(401, `{"code":"unauthorized"}`)
	case a.hurt.Load():
		say(500, `{"code":"server-error"}`)
	case path == "/provisioners/me":
		say(200, `{"id":"11111111-1111-7111-8111-111111111111","scope":"workspace","workspace_id":"w1"}`)
	case path == "/provisioners/demand/poll":
		a.asked.Store(string(body))
		a.polls.Add(1)
		select {
		case <-time.After(a.wait):
		case <-r.Context().Done():
		}
		say(200, `{"stats":[],"reservations":[]}`)
	case strings.HasSuffix(path, "runner-registration-tokens/batch") && a.generation == "ert":
		say(400, `{"code":"validation-error"}`)
	case strings.HasPrefix(path, "/provisioners/runner-instances/") && a.generation != "pr",
		strings.HasPrefix(path, "/provisioners/provisioned-runners/") && a.generation == "pr":
		say(200, `{"accepted":1,"runners":[]}`)
	default:
		say(404, `{"code":"not-found"}`)
	}
}

// onProcess is the cheapest program that gets ready: no engine is needed.
func onProcess(t *testing.T, a *api, file string) map[string]string {
	return with(settingsFor(a.URL, tokens.New(tokens.Provisioner), file), "SLIPWAY_BACKEND", "process")
}

// unread is a log whose reader has stopped.
type unread struct{ ended <-chan struct{} }

func (u unread) Write(line []byte) (int, error) {
	<-u.ended
	return len(line), nil
}

func TestALogThatNobodyReadsHoldsUpNothing(t *testing.T) {
	a := newAPI(t, "head")
	var pairs []string
	for name, value := range onProcess(t, a, templates(t, oneTemplate)) {
		pairs = append(pairs, name, value)
	}
	c := loaded(t, append(pairs, "SLIPWAY_PROCESS_DIR", t.TempDir(), "SLIPWAY_HTTP_ADDR", "off", "LOG_LEVEL", "debug")...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, nil, unread{t.Context().Done()}) }()
	require.Eventually(t, func() bool { return a.polls.Load() > 2 }, patience, 10*time.Millisecond)
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

func TestBadSettingsAreUsageErrors(t *testing.T) {
	p := start(t, map[string]string{"SHIPFOX_PROVISIONER_MAX_RESERVATIONS": "many", "LOG_LEVEL": "loud"})
	require.Equal(t, 2, p.exit())
	for _, text := range []string{"SHIPFOX_PROVISIONER_TOKEN is not set", "SHIPFOX_PROVISIONER_TEMPLATES_FILE is not set",
		`SHIPFOX_PROVISIONER_MAX_RESERVATIONS is "many"`, `LOG_LEVEL is "loud"`} {
		require.Contains(t, "\n"+p.output(), "\nslipway-provisioner: "+text, "a line each")
	}
	require.Equal(t, 2, start(t, nil, "--no-such-flag").exit())
	require.Equal(t, 2, start(t, nil, "surplus").exit())
	help := start(t, nil, "--help")
	require.Equal(t, 0, help.exit())
	for _, s := range settings {
		if s.flag != "" {
			require.Contains(t, help.output(), "--"+s.flag)
		}
	}
}

func TestARefusedTokenEndsTheStart(t *testing.T) {
	a := newAPI(t, "head")
	a.refuse.Store(true)
	token := tokens.New(tokens.Provisioner)
	p := start(t, with(settingsFor(a.URL, token, templates(t, oneTemplate)), "SLIPWAY_BACKEND", "process"))
	require.Equal(t, 1, p.exit())
	require.Contains(t, p.output(), "the service refuses the token")
	require.NotContains(t, p.output(), token.Reveal())
}

func TestATemplateFileWithErrorsEndsTheStart(t *testing.T) {
	a := newAPI(t, "head")
	p := start(t, onProcess(t, a, templates(t, "templates:\n  small:\n    labls: [a]\n")))
	require.Equal(t, 1, p.exit())
	require.Contains(t, p.output(), "labls")
	p = start(t, with(settingsFor(a.URL, tokens.New(tokens.Provisioner), templates(t, strings.Replace(oneTemplate, "    image: busybox\n", "", 1))), "SLIPWAY_DEFAULT_IMAGE", "none"))
	require.Equal(t, 1, p.exit())
	require.Contains(t, p.output(), "has no image")
}

// manyTemplates is a file with n of them.
func manyTemplates(n int) string {
	text := strings.Builder{}
	text.WriteString("templates:\n")
	for i := range n {
		fmt.Fprintf(&text, "  t%d:\n    labels: [l%d]\n    image: busybox\n    cpu: 1\n    memory: 64m\n    max_concurrency: 1\n", i, i)
	}
	return text.String()
}

func TestTooManyTemplatesForAnOlderGeneration(t *testing.T) {
	for _, generation := range []string{"ert", "pr"} {
		p := start(t, onProcess(t, newAPI(t, generation), templates(t, manyTemplates(101))))
		require.Equal(t, 1, p.exit())
		require.Contains(t, p.output(), "101")
		require.Contains(t, p.output(), "at most 100")
	}
	// A reload that brings too many is refused like any other bad file.
	file := templates(t, oneTemplate)
	p := start(t, onProcess(t, newAPI(t, "ert"), file))
	p.ready()
	require.NoError(t, os.WriteFile(file, []byte(manyTemplates(101)), 0o600))
	p.signal(syscall.SIGHUP)
	p.says("the template file is refused")
	require.Len(t, p.state(t).State.Templates, 1)
	p.kill()
	head := start(t, onProcess(t, newAPI(t, "head"), file))
	head.ready()
}

func TestTheServiceMayBeAwayAtTheStart(t *testing.T) {
	a := newAPI(t, "head")
	a.hurt.Store(true)
	p := start(t, onProcess(t, a, templates(t, oneTemplate)))
	addr := p.addr()
	p.says("it is asked again")
	status, body := get(t, "http://"+addr+"/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "starting")
	status, _ = get(t, "http://"+addr+"/healthz")
	require.Equal(t, 200, status)
	status, _ = get(t, "http://"+addr+"/debug/state")
	require.Equal(t, 503, status)
	a.hurt.Store(false)
	p.ready()

	// A signal while the service is away is no failure.
	a.hurt.Store(true)
	p = start(t, onProcess(t, a, templates(t, oneTemplate)))
	p.says("it is asked again")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
}

func TestCheck(t *testing.T) {
	a := newAPI(t, "pr")
	file := templates(t, oneTemplate)
	env := with(onProcess(t, a, file), "SHIPFOX_PROVISIONER_REGISTRATION_TOKEN_BATCH_SIZE", "900")
	good := start(t, env, "--check")
	require.Equal(t, 0, good.exit(), good.output())
	for _, text := range []string{"templates: 1 in ", "token: accepted by ", "generation pr", "backend: process answers", "warning: ", "cut to 500"} {
		require.Contains(t, good.output(), text)
	}
	require.Zero(t, a.polls.Load(), "a check asks for no work")

	// All that is wrong, at once.
	require.NoError(t, os.WriteFile(file, []byte("templates: 5\n"), 0o600))
	a.refuse.Store(true)
	bad := start(t, with(env, "SLIPWAY_BACKEND", "docker", "LOG_FILE", filepath.Join(file, "log")), "--check")
	require.Equal(t, 1, bad.exit())
	for _, text := range []string{"templates: ", "token: the service refuses the token", "backend: ", "log: LOG_FILE"} {
		require.Contains(t, "\n"+bad.output(), "\nslipway-provisioner: "+text, "a line each")
	}
	require.Contains(t, bad.output(), "/nonexistent/docker.sock")
}

// What a start would stumble over is found before, in one line each.
func TestCheckOfAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://new.example"+r.URL.Path, http.StatusMovedPermanently)
	}))
	t.Cleanup(moved.Close)
	check := func(url, addr string) (said string, errs error) {
		c, err := Load(nil, environment(with(settingsFor(url, tokens.New(tokens.Provisioner), templates(t, oneTemplate)),
			"SLIPWAY_BACKEND", "process", "SLIPWAY_PROCESS_DIR", t.TempDir(), "SLIPWAY_HTTP_ADDR", addr)))
		require.NoError(t, err)
		var out strings.Builder
		err = c.Check(t.Context(), &out)
		return out.String(), err
	}
	api := newAPI(t, "head").URL
	for _, addr := range []string{"off", "127.0.0.1:0"} {
		said, err := check(api, addr)
		require.NoError(t, err)
		require.NotContains(t, said, "SLIPWAY_HTTP_ADDR")
	}
	said, err := check(api, taken.Addr().String())
	require.NoError(t, err, "the provisioner itself may run")
	require.Contains(t, said, "warning: SLIPWAY_HTTP_ADDR: listen tcp "+taken.Addr().String()+": bind: address already in use")

	_, err = check(moved.URL, "192.0.2.1:9464") // an address of documentation: nobody's (RFC 5737)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "http: SLIPWAY_HTTP_ADDR: listen tcp 192.0.2.1:9464")
	require.Equal(t, "token: shipfox: GET /provisioners/me: 301: a redirect to https://new.example/provisioners/me, which is not followed: set SHIPFOX_API_URL to https://new.example", lines[1])
}

// shown is what /debug/state tells.
type shown struct {
	Health []struct {
		Name, Reason string
		OK           bool
	}
	State struct {
		Templates []struct {
			Key           string
			Free          int
			Failures      int
			FailureReason string `json:"failure_reason"`
		}
		Runners []struct{ ID, Template, State string }
	}
}

func (p *started) state(t testing.TB) (s shown) {
	t.Helper()
	status, body := get(t, "http://"+p.addr()+"/debug/state")
	require.Equal(t, 200, status, body)
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	return s
}

func TestHealthRoutes(t *testing.T) {
	a := newAPI(t, "head")
	token := tokens.New(tokens.Provisioner)
	logFile := filepath.Join(t.TempDir(), "log")
	env := with(settingsFor(a.URL, token, templates(t, oneTemplate)), "SLIPWAY_BACKEND", "process", "SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS", "1",
		"SHIPFOX_PROVISIONER_POLL_MAX_INTERVAL_MS", "1000")
	p := start(t, env)
	p.ready()
	require.Equal(t, "small", p.state(t).State.Templates[0].Key)
	require.Equal(t, 3, p.state(t).State.Templates[0].Free)
	status, metrics := get(t, "http://"+p.addr()+"/metrics")
	require.Equal(t, 200, status)
	require.Contains(t, metrics, "slipway_")
	require.Contains(t, metrics, "process_resident_memory_bytes")
	status, _ = get(t, "http://"+p.addr()+"/nothing")
	require.Equal(t, 404, status)

	// The last good poll gets older than three waits.
	a.refuse.Store(true)
	require.Eventually(t, func() bool {
		status, body := get(t, "http://"+p.addr()+"/readyz")
		return status == 503 && strings.Contains(body, "the last good one was")
	}, patience, 20*time.Millisecond, "no good poll for long is not ready")
	status, _ = get(t, "http://"+p.addr()+"/healthz")
	require.Equal(t, 200, status, "a restart would not help")
	select {
	case <-p.ended:
		t.Fatal("a token that is refused later may come back")
	default:
	}
	a.refuse.Store(false)
	p.ready()

	_, body := get(t, "http://"+p.addr()+"/debug/state")
	require.NotContains(t, body+metrics+p.output(), token.Reveal())

	// An address that was set and is taken is an error; a default one is not
	// even tried where it is turned off.
	taken := start(t, with(env, "SLIPWAY_HTTP_ADDR", p.addr()))
	require.Equal(t, 1, taken.exit())
	require.Contains(t, taken.output(), "SLIPWAY_HTTP_ADDR")
	off := start(t, with(env, "SLIPWAY_HTTP_ADDR", "off", "LOG_STDOUT", "false", "LOG_FILE", logFile))
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(logFile)
		return strings.Contains(string(text), "this provisioner")
	}, patience, 10*time.Millisecond)
	require.Empty(t, off.output(), "the file has it all")
	info, err := os.Stat(logFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// A default address that is taken is a warning: the provisioner works without.
func TestATakenDefaultAddressIsAWarning(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	var out strings.Builder
	c := Config{HTTPAddr: l.Addr().String(), LogStdout: true, LogStdoutLevel: "info"}
	log, done, err := c.logger(&out)
	require.NoError(t, err)
	defer func() { _ = done.Close() }()
	w, err := c.listen(log, nil)
	require.NoError(t, err)
	w.close()
	require.Contains(t, out.String(), "set SLIPWAY_HTTP_ADDR")
	c.httpAddrGiven = true
	_, err = c.listen(log, nil)
	require.ErrorContains(t, err, "SLIPWAY_HTTP_ADDR")
}

func TestTheLogHoldsNoToken(t *testing.T) {
	var out strings.Builder
	log, done, err := Config{LogStdout: true, LogStdoutLevel: "info"}.logger(&out)
	require.NoError(t, err)
	defer func() { _ = done.Close() }()
	secret := tokens.New(tokens.Bootstrap).Reveal()
	log.Warn("the engine says: "+secret, "err", fmt.Errorf("x %s y", secret))
	require.NotContains(t, out.String(), secret[10:])
	require.Contains(t, out.String(), "the engine says")
}

func TestReload(t *testing.T) {
	file := templates(t, oneTemplate)
	p := start(t, onProcess(t, newAPI(t, "head"), file))
	p.ready()
	keys := func() (keys []string) {
		for _, one := range p.state(t).State.Templates {
			keys = append(keys, one.Key)
		}
		return keys
	}
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }

	write(manyTemplates(2)) // noticed by itself
	require.Eventually(t, func() bool { return len(keys()) == 2 }, patience, 20*time.Millisecond)
	write("templates:\n  broken: [1]\n")
	p.signal(syscall.SIGHUP)
	p.says("the template file is refused")
	require.Equal(t, []string{"t0", "t1"}, keys(), "a bad file is refused whole")
	write(oneTemplate)
	p.signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return len(keys()) == 1 }, patience, 20*time.Millisecond)
	require.Equal(t, []string{"small"}, keys())
}

// The process backend and the real runner against a real hub, from end to end.
func TestEndToEndOnProcesses(t *testing.T) {
	world := foxtest.New(t, "head")
	out := filepath.Join(t.TempDir(), "out")
	file := templates(t, "templates:\n  here:\n    labels: [linux]\n    cpu: 1\n    memory: 64m\n    max_concurrency: 2\n    command: ["+filepath.Join(programs(t), "slipway-runner")+"]\n")
	env := with(settingsFor(world.Hub.URL(), world.Token, file), "SLIPWAY_BACKEND", "process", "SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS", "30")
	p := start(t, env)
	p.ready()
	world.Submit(t, 3, "echo done >> "+out, "linux")
	require.Eventually(t, func() bool { return world.Count(t)[queue.StateSucceeded] == 3 }, patience, 50*time.Millisecond, "%v", world.Count(t))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "done\ndone\ndone\n", string(text))

	// A restart in the middle of a job adopts it; so does one after kill -9.
	hold := filepath.Join(t.TempDir(), "hold")
	world.Submit(t, 1, "while ! test -e "+hold+"; do sleep 0.05; done", "linux")
	require.Eventually(t, func() bool { return world.Count(t)[queue.StateRunning] == 1 }, patience, 50*time.Millisecond)
	p.kill()
	again := start(t, with(env, "SLIPWAY_PROCESS_DIR", p.variable("SLIPWAY_PROCESS_DIR")))
	again.says("adopted")
	again.ready()
	again.signal(syscall.SIGTERM)
	require.Equal(t, 0, again.exit(), "a drain leaves running runners alone")
	require.Equal(t, 1, world.Count(t)[queue.StateRunning])
	last := start(t, with(env, "SLIPWAY_PROCESS_DIR", p.variable("SLIPWAY_PROCESS_DIR")))
	last.ready()
	require.NoError(t, os.WriteFile(hold, nil, 0o600))
	require.Eventually(t, func() bool { return world.Count(t)[queue.StateSucceeded] == 4 }, patience, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		for _, r := range last.state(t).State.Runners {
			if r.State == "running" || r.State == "starting" {
				return false
			}
		}
		return true
	}, patience, 50*time.Millisecond)
}

func (p *started) variable(name string) string {
	for _, entry := range p.cmd.Env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// With no reservations wanted nothing is taken; all else goes on.
func TestNoReservations(t *testing.T) {
	a := newAPI(t, "head")
	p := start(t, with(onProcess(t, a, templates(t, oneTemplate)), "SHIPFOX_PROVISIONER_MAX_RESERVATIONS", "0"))
	p.ready()
	require.Contains(t, a.asked.Load(), `"max_reservations":0`)
	require.Contains(t, a.asked.Load(), `"available_slots":3`)
	p = start(t, onProcess(t, a, templates(t, oneTemplate)))
	require.Eventually(t, func() bool { return strings.Contains(a.asked.Load().(string), `"max_reservations":250`) }, patience, 10*time.Millisecond)
	p.ready()
}

// The first signal drains: a launch under way is finished, so nothing is done
// by half. The second leaves at once.
func TestSignals(t *testing.T) {
	a := newAPI(t, "head")
	a.wait = time.Hour
	p := start(t, onProcess(t, a, templates(t, oneTemplate)))
	require.Eventually(t, func() bool { return a.polls.Load() > 0 }, patience, 10*time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit(), "a poll under way is not waited for")
	require.Contains(t, p.output(), "stopped")
}

// What can't be reported is tried for as long as a drain may take, unless there is
// a second signal.
func TestASecondSignalLeavesAtOnce(t *testing.T) {
	world := foxtest.New(t, "head")
	m := newMeddler(t, world.Hub.URL())
	m.refuse = "/report"
	file := templates(t, "templates:\n  here:\n    labels: [linux]\n    cpu: 1\n    memory: 64m\n    max_concurrency: 1\n    command: [/bin/sleep, \"3\"]\n")
	p := start(t, with(settingsFor(m.URL, world.Token, file), "SLIPWAY_BACKEND", "process"))
	p.ready()
	world.Submit(t, 1, "true", "linux")
	require.Eventually(t, func() bool { return len(p.state(t).State.Runners) == 1 }, patience, 20*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Contains(p.output(), "/report: 500") }, patience, 20*time.Millisecond)
	p.signal(syscall.SIGTERM)
	p.says("stopping")
	select {
	case <-p.ended:
		t.Fatal("the reports are given up at once")
	case <-time.After(300 * time.Millisecond):
	}
	require.Eventually(t, func() bool { // one that comes too soon counts as the first
		return p.cmd.Process.Signal(syscall.SIGTERM) != nil || strings.Contains(p.output(), "interrupted twice")
	}, patience, 50*time.Millisecond)
	p.kill()
	require.Equal(t, 128+int(syscall.SIGTERM), p.code, "it was the signal, not the end of its patience")
}
