package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/internal/release"
	"github.com/slipway-ci/slipway/tokens"
)

// site is a hub's /install/ with one good enrolment, and whatever a test puts there.
type site struct {
	t         *testing.T
	dir       string
	enrolment tokens.Token
	err       error
	asked     []string
	log       bytes.Buffer
	handler   http.Handler
}

func newSite(t *testing.T, change func(*Config)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), enrolment: tokens.New(tokens.Enrolment)}
	cfg := Config{
		Hosts: InviterFunc(func(_ context.Context, enrolment tokens.Token) (Invited, error) {
			s.asked = append(s.asked, enrolment.String())
			switch {
			case s.err != nil:
				return Invited{}, s.err
			case !enrolment.Equal(s.enrolment):
				return Invited{}, ErrUnknown
			}
			return Invited{Host: "builder-01", Isolated: true}, nil
		}),
		PublicURL: "https://hub.example", AgentsDir: s.dir, beside: filepath.Join(s.dir, "nowhere"), version: "v9.9.9",
		Logger: hclog.New(&hclog.LoggerOptions{Output: &s.log, Level: hclog.Trace}),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	s.handler, err = New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NotContains(t, s.log.String(), s.enrolment.Reveal()[len(s.enrolment.Prefix()):], "the enrolment is in the log")
	})
	return s
}

func (s *site) put(name, content string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o644))
}

// signed puts an agent with its manifest.
func (s *site) signed(arch, content string, key release.PrivateKey) {
	s.t.Helper()
	name := "slipway-agent-linux-" + arch
	s.put(name, content)
	m, err := release.Describe(filepath.Join(s.dir, name), "v1.4.0", "linux", arch)
	require.NoError(s.t, err)
	m, err = release.Sign(m, key)
	require.NoError(s.t, err)
	require.NoError(s.t, release.Write(filepath.Join(s.dir, name+".manifest"), m))
}

func (s *site) ask(method, path string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, "http://x"+path, nil)
	r.Header.Set(problem.HeaderRequestID, "request-1") // the hub's edge gives every request one
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	s.handler.ServeHTTP(answer, r)
	return answer
}

func (s *site) path() string { return Prefix + s.enrolment.Reveal() + ".sh" }

func TestScriptIsGivenForAnEnrolment(t *testing.T) {
	s := newSite(t, nil)
	s.put("slipway-agent-linux-amd64", "a program")
	answer := s.ask("GET", s.path())
	require.Equal(t, 200, answer.Code)
	require.Equal(t, "text/x-shellscript; charset=utf-8", answer.Header().Get("Content-Type"))
	require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", answer.Header().Get("X-Content-Type-Options"))
	script := answer.Body.String()
	require.Equal(t, fmt.Sprint(len(script)), answer.Header().Get("Content-Length"))
	for _, part := range []string{
		"hub_url='https://hub.example'\n", "enrolment='" + s.enrolment.Reveal() + "'\n", "host_name='builder-01'\n", "isolated='yes'\n",
		"agent_sha256='" + shaOf("a program") + "' ", "agent_url='https://hub.example/install/slipway-agent-linux-amd64'",
		"'apt-arm64') sysbox_url='https://github.com/nestybox/",
	} {
		require.Contains(t, script, part)
	}
	require.Equal(t, 1, strings.Count(script, s.enrolment.Reveal()))
	require.NotContains(t, script, "'arm64') agent_sha256", "the hub has none")

	require.Equal(t, script, s.ask("GET", s.path()).Body.String(), "fetching it consumes nothing")
	head := s.ask("HEAD", s.path())
	require.Equal(t, 200, head.Code)
	require.Equal(t, answer.Header(), head.Header())
	require.Contains(t, s.log.String(), "host=builder-01")
}

// What a client says of where it thinks it is never gets into a script.
func TestRequestDoesNotInfluenceTheScript(t *testing.T) {
	s := newSite(t, nil)
	s.put("slipway-agent-linux-amd64", "a program")
	plain := s.ask("GET", s.path())
	for _, header := range [][]string{
		{"Host", "evil.example"}, {"X-Forwarded-Host", "evil.example"}, {"X-Forwarded-Proto", "http"}, {"X-Forwarded-For", "evil.example"}, {"X-Forwarded-Prefix", "/evil.example"},
		{"Forwarded", "host=evil.example;proto=http"}, {"X-Original-URL", "/evil.example"}, {"X-Rewrite-URL", "/evil.example"}, {"Referer", "https://evil.example"}, {"Origin", "https://evil.example"},
		{"User-Agent", "evil.example"}, {"Accept", "text/html"}, {"Range", "bytes=0-10"}, {"If-None-Match", "*"},
	} {
		answer := s.ask("GET", s.path(), header...)
		require.Equal(t, 200, answer.Code, "%v", header)
		require.Equal(t, plain.Header(), answer.Header(), "%v", header)
		require.Equal(t, plain.Body.String(), answer.Body.String(), "%v", header)
	}
	require.Equal(t, plain.Body.String(), s.ask("GET", s.path()+"?host=evil.example&name=x").Body.String())
}

func TestRefusedScriptSaysSoAndFails(t *testing.T) {
	good := tokens.New(tokens.Enrolment)
	for name, c := range map[string]struct {
		path string
		err  error
		cfg  func(*Config)
		says string
	}{
		"spent":        {says: "was used already", err: ErrSpent},
		"expired":      {says: "has expired", err: fmt.Errorf("look up: %w", ErrExpired)},
		"unknown":      {says: "does not know", err: ErrUnknown},
		"other":        {says: "does not know", path: Prefix + tokens.New(tokens.Enrolment).Reveal() + ".sh"},
		"another kind": {says: "does not know", path: Prefix + tokens.New(tokens.Admin).Reveal() + ".sh"},
		"no token":     {says: "does not know", path: Prefix + "x.sh"},
		"nothing":      {says: "does not know", path: Prefix + ".sh"},
		"a path":       {says: "does not know", path: Prefix + "a/" + good.Reveal() + ".sh"},
		"an injection": {says: "does not know", path: Prefix + "x';touch%20injected;'.sh"},
		"trouble":      {says: "can't give the installation", err: errors.New("database is locked " + good.Reveal())},
		"no URL":       {says: "--public-url", cfg: func(c *Config) { c.PublicURL = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.cfg)
			s.err = c.err
			path := c.path
			if path == "" {
				path = s.path()
			}
			answer := s.ask("GET", path)
			// 200: curl -f would turn anything else into an empty script, and that succeeds.
			require.Equal(t, 200, answer.Code)
			require.Equal(t, "text/x-shellscript; charset=utf-8", answer.Header().Get("Content-Type"))
			require.NotContains(t, strings.ToLower(answer.Body.String()), "<html")
			cmd := exec.CommandContext(t.Context(), "bash", "-s", "--", "--container")
			cmd.Stdin, cmd.Dir = answer.Body, t.TempDir()
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, string(out))
			require.Equal(t, 1, exit.ExitCode(), string(out))
			require.Contains(t, string(out), "slipway: ")
			require.Contains(t, string(out), c.says)
			require.NotContains(t, s.log.String(), good.Reveal()[len(good.Prefix()):])
			left, err := os.ReadDir(cmd.Dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestRefusalQuotes(t *testing.T) {
	dir := t.TempDir()
	why := "it's \"$(touch x)\" `touch y` \\ ${z}\n;touch w #"
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Stdin, cmd.Dir = bytes.NewReader(refuse(why+"\x00")), dir
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, "slipway: "+why+"\n", string(out))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Whatever fills a script is quoted: no action of a template stands without q.
func TestTemplatesQuoteEverything(t *testing.T) {
	allowed := regexp.MustCompile(`^\{\{(-? ?(range \.[A-Z][A-Za-z]+|end) ?-?|q \.[A-Za-z0-9]*)\}\}$`)
	for _, name := range []string{"head.sh.tmpl", "refusal.sh.tmpl"} {
		actions := regexp.MustCompile(`\{\{.*?\}\}`).FindAllString(readFile(t, filepath.Join("script", name)), -1)
		require.NotEmpty(t, actions)
		for _, action := range actions {
			require.Regexp(t, allowed, action, name)
		}
	}
	s := newSite(t, nil)
	h := s.handler.(*handler)
	h.name, h.root = "x'$(touch a)", "/`touch b`"
	text, err := h.script(Invited{Host: "it's\n$(touch c) é"}, s.enrolment)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "bash", "-s", "--", "--help")
	cmd.Stdin, cmd.Dir = bytes.NewReader(text), t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	left, err := os.ReadDir(cmd.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Contains(t, string(text), "host_name='it-s---touch-c---'\n")
}

func TestProgramsAreServed(t *testing.T) {
	s := newSite(t, nil)
	private, public, err := release.GenerateKey()
	require.NoError(t, err)
	require.NoError(t, release.WritePublicKey(filepath.Join(s.dir, keyFile), public))
	s.signed("amd64", "a program", private)
	s.put("slipway-agent-linux-arm64", "another program")

	const amd64 = "/install/slipway-agent-linux-amd64"
	answer := s.ask("GET", amd64)
	require.Equal(t, 200, answer.Code)
	require.Equal(t, "a program", answer.Body.String())
	require.Equal(t, `"`+shaOf("a program")+`"`, answer.Header().Get("ETag"))
	require.Equal(t, "application/octet-stream", answer.Header().Get("Content-Type"))
	etag := answer.Header().Get("ETag")
	require.Equal(t, 304, s.ask("GET", amd64, "If-None-Match", etag).Code)
	part := s.ask("GET", amd64, "Range", "bytes=2-4")
	require.Equal(t, 206, part.Code)
	require.Equal(t, "pro", part.Body.String())
	head := s.ask("HEAD", amd64)
	require.Equal(t, 200, head.Code)
	require.Equal(t, "9", head.Header().Get("Content-Length"))
	require.Empty(t, head.Body.String())

	manifest := s.ask("GET", amd64+".manifest")
	require.Equal(t, 200, manifest.Code)
	m, err := release.Parse(manifest.Body.Bytes())
	require.NoError(t, err)
	require.NoError(t, m.Verify(public))
	require.NoError(t, m.Check(answer.Result().Body))
	require.Equal(t, 304, s.ask("GET", amd64+".manifest", "If-None-Match", manifest.Header().Get("ETag")).Code)
	key := s.ask("GET", "/install/update-key.pub")
	require.Equal(t, public.Text(), key.Body.String())
	require.Contains(t, s.ask("GET", s.path()).Body.String(), "update_key='"+strings.TrimSpace(public.Text())+"'\n")

	unsigned := s.ask("GET", "/install/slipway-agent-linux-arm64.manifest")
	require.Equal(t, 404, unsigned.Code)
	require.Contains(t, unsigned.Body.String(), "no manifest")
	require.Equal(t, 200, s.ask("GET", "/install/slipway-agent-linux-arm64").Code)
	require.Equal(t, 404, s.ask("GET", "/install/slipway-agent-darwin-arm64").Code)

	// What the library says of a bad range is a problem too.
	answer = s.ask("GET", amd64, "Range", "bytes=9999999-")
	require.Equal(t, 416, answer.Code)
	isProblem(t, answer, "invalid")

	// What is put there anew is served at once.
	s.put("slipway-agent-linux-arm64", "the next one")
	require.NoError(t, os.Chtimes(filepath.Join(s.dir, "slipway-agent-linux-arm64"), time.Time{}, time.Now().Add(time.Second)))
	again := s.ask("GET", "/install/slipway-agent-linux-arm64")
	require.Equal(t, "the next one", again.Body.String())
	require.Equal(t, `"`+shaOf("the next one")+`"`, again.Header().Get("ETag"))
	require.Contains(t, s.ask("GET", s.path()).Body.String(), shaOf("the next one"))
}

// A program that is not what was signed is given to nobody, and stops no other.
func TestBadReleaseIsNotServed(t *testing.T) {
	private, public, err := release.GenerateKey()
	require.NoError(t, err)
	other, _, err := release.GenerateKey()
	require.NoError(t, err)
	for name, spoil := range map[string]func(s *site){
		"another program":    func(s *site) { s.put("slipway-agent-linux-amd64", "b program") },
		"another key":        func(s *site) { s.signed("amd64", "a program", other) },
		"no manifest at all": func(s *site) { s.put("slipway-agent-linux-amd64.manifest", "junk") },
		"another platform": func(s *site) {
			text, err := os.ReadFile(filepath.Join(s.dir, "slipway-agent-linux-arm64.manifest"))
			require.NoError(s.t, err)
			s.put("slipway-agent-linux-amd64.manifest", string(text))
		},
		"empty": func(s *site) { s.put("slipway-agent-linux-amd64", "") },
		"a folder": func(s *site) {
			require.NoError(s.t, os.Remove(filepath.Join(s.dir, "slipway-agent-linux-amd64")))
			require.NoError(s.t, os.Mkdir(filepath.Join(s.dir, "slipway-agent-linux-amd64"), 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			require.NoError(t, release.WritePublicKey(filepath.Join(s.dir, keyFile), public))
			s.signed("amd64", "a program", private)
			s.signed("arm64", "a program", private)
			require.Equal(t, 200, s.ask("GET", "/install/slipway-agent-linux-amd64").Code)
			spoil(s)
			for _, path := range []string{"/install/slipway-agent-linux-amd64", "/install/slipway-agent-linux-amd64.manifest"} {
				answer := s.ask("GET", path)
				require.Equal(t, 503, answer.Code)
				isProblem(t, answer, "unavailable")
				require.NotContains(t, answer.Body.String(), s.dir, "the log says why, the answer does not")
			}
			require.Contains(t, s.log.String(), "not given out")
			require.Equal(t, 200, s.ask("GET", "/install/slipway-agent-linux-arm64").Code)
			script := s.ask("GET", s.path()).Body.String()
			require.NotContains(t, script, "'amd64') agent_sha256")
			require.Contains(t, script, "'arm64') agent_sha256")
		})
	}
}

// Without a folder of agents the one beside the hub is given to hosts like its own.
func TestAgentBesideTheHub(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("agents are for Linux")
	}
	beside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(beside, "slipway-agent"), []byte("beside"), 0o755))
	for _, dir := range []string{"", "empty"} {
		s := newSite(t, func(c *Config) {
			c.beside = beside
			if dir == "" {
				c.AgentsDir = ""
			}
		})
		name := "/install/slipway-agent-linux-" + runtime.GOARCH
		require.Equal(t, "beside", s.ask("GET", name).Body.String())
		require.Equal(t, 404, s.ask("GET", name+".manifest").Code)
		require.Equal(t, 404, s.ask("GET", "/install/update-key.pub").Code)
		require.Contains(t, s.ask("GET", s.path()).Body.String(), "'"+runtime.GOARCH+"') agent_sha256='"+shaOf("beside")+"' agent_version='v9.9.9' ")
		for _, arch := range architectures {
			if arch != runtime.GOARCH {
				require.Equal(t, 404, s.ask("GET", "/install/slipway-agent-linux-"+arch).Code)
			}
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	s := newSite(t, nil)
	s.put("slipway-agent-linux-amd64", "a program")
	s.put("secret", "the canary")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(s.dir), "outside"), []byte("the canary"), 0o644))
	for _, path := range []string{
		"/install/", "/install", "/install/secret", "/install/../outside", "/install/%2e%2e/outside", "/install/..%2foutside", "/install/slipway-agent-linux-amd64/../secret",
		"/install/slipway-agent-linux-amd64/", "/install/slipway-agent-linux-../secret", "/install/slipway-agent-linux-amd64%00", "/install//slipway-agent-linux-amd64", "/install/slipway-agent",
		"/install/slipway-agent-linux-riscv64", "/install/slipway-agent-windows-amd64", "/install/update-key.pub/../secret", "/install/.", "/install/..", "/other",
		"/install/slipway-agent-linux-amd64.manifest.manifest", "/install/slipway-agent-linux-amd64%0a",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			answer := s.ask(method, path)
			require.Equal(t, 404, answer.Code, "%s %s", method, path)
			require.NotContains(t, answer.Body.String(), "canary")
			isProblem(t, answer, "not-found")
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		answer := s.ask(method, s.path())
		require.Equal(t, 405, answer.Code)
		require.Equal(t, "GET, HEAD", answer.Header().Get("Allow"))
		isProblem(t, answer, "method-not-allowed")
	}
	require.Empty(t, s.asked, "nobody asked for an enrolment")
}

// isProblem says that an error is told as the API tells its own.
func isProblem(t *testing.T, answer *httptest.ResponseRecorder, code string) {
	t.Helper()
	require.Equal(t, problem.ContentType, answer.Header().Get("Content-Type"))
	var p problem.Problem
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &p))
	require.Equal(t, []any{code, answer.Code, "request-1"}, []any{p.Code(), p.Status, p.RequestID})
	require.NotEmpty(t, p.Detail)
}

func TestConfig(t *testing.T) {
	hosts := InviterFunc(func(context.Context, tokens.Token) (Invited, error) { return Invited{}, ErrUnknown })
	for _, good := range []string{"", "https://hub.example", "https://hub.example/", "http://127.0.0.1:8570", "http://[::1]:8570", "https://hub.example:8443/ci/slipway/"} {
		_, err := New(Config{Hosts: hosts, PublicURL: good})
		require.NoError(t, err, good)
	}
	for _, bad := range []string{
		"hub.example", "ftp://hub.example", "https://", "https://a@hub.example", "https://hub.example?x=1", "https://hub.example/#x", "https://hub.example/$(touch x)",
		"https://hub.example/'", "https://hub.example/ x", "https://hub.example\nx", "https:///path", "https://hub.example/%27",
	} {
		_, err := New(Config{Hosts: hosts, PublicURL: bad})
		require.ErrorIs(t, err, ErrConfig, bad)
	}
	_, err := New(Config{})
	require.ErrorIs(t, err, ErrConfig)
	_, err = New(Config{Hosts: hosts, Sysbox: SysboxTable{"apk": {}}})
	require.ErrorIs(t, err, ErrConfig)
}
