package update_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/agentd/update"
	"github.com/slipway-ci/slipway/internal/release"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a hub's folder of installations, and one host.
type site struct {
	t         *testing.T
	key       release.PrivateKey
	files     map[string][]byte // what the hub serves below /install/
	hub       *httptest.Server
	folder    *identity.Folder
	installed string
	log       bytes.Buffer
}

const name = "slipway-agent-linux-amd64"

// script is a program that tells its version.
func script(version string) []byte {
	return []byte("#!/bin/sh\necho slipway-agent " + version + " go linux/amd64\n")
}

func newSite(t *testing.T) *site {
	t.Helper()
	key, public, err := release.GenerateKey()
	require.NoError(t, err)
	s := &site{t: t, key: key, files: map[string][]byte{}}
	s.hub = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := strings.CutPrefix(r.URL.Path, "/install/")
		data, there := s.files[file]
		if !ok || !there {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.hub.Close)
	s.folder, err = identity.Open(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	require.NoError(t, s.folder.PinKey([]byte(public.Text())))
	s.installed = filepath.Join(t.TempDir(), "slipway-agent")
	require.NoError(t, os.WriteFile(s.installed, script("v1.0.0"), 0o755))
	return s
}

// serve has the hub serve a program as a version, signed.
func (s *site) serve(version string, program []byte) {
	s.t.Helper()
	s.serveAs(version, program, "linux", "amd64", s.key)
}

func (s *site) serveAs(version string, program []byte, system, arch string, key release.PrivateKey) {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "program")
	require.NoError(s.t, os.WriteFile(path, program, 0o600))
	m, err := release.Describe(path, version, system, arch)
	require.NoError(s.t, err)
	if !key.IsZero() {
		m, err = release.Sign(m, key)
		require.NoError(s.t, err)
	}
	s.files[name], s.files[name+".manifest"] = program, m.Text()
}

// program is the one that runs, with its Updater.
func (s *site) program(path, version string, change ...func(*update.Config)) *update.Updater {
	s.t.Helper()
	if path != s.installed {
		s.t.Setenv(update.InstalledEnv, s.installed)
	}
	c := update.Config{
		Folder: s.folder, Hub: s.hub.URL + "/", Executable: path, Version: version, OS: "linux", Arch: "amd64",
		Client: s.hub.Client(), Logger: hclog.New(&hclog.LoggerOptions{Output: &s.log, Level: hclog.Trace}),
	}
	for _, f := range change {
		f(&c)
	}
	u, err := update.New(c)
	require.NoError(s.t, err)
	return u
}

// next is what a start of the installed program executes; empty: itself.
func (s *site) next() string {
	s.t.Helper()
	return s.program(s.installed, "v1.0.0").Program()
}

// fetched are the programs in the data folder.
func (s *site) fetched() []string {
	entries, err := os.ReadDir(s.folder.Join("bin"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(s.t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestUpdate(t *testing.T) {
	s := newSite(t)
	require.Empty(t, s.next(), "without an update the installed program goes on")
	s.serve("v1.1.0", script("v1.1.0"))
	require.NoError(t, s.program(s.installed, "v1.0.0").Stage(t.Context(), "v1.1.0"))

	path := s.next()
	require.Equal(t, s.folder.Join("bin"), filepath.Dir(path))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, script("v1.1.0"), got)
	installed, err := os.ReadFile(s.installed)
	require.NoError(t, err)
	require.Equal(t, script("v1.0.0"), installed, "the installed program is never written to")

	u := s.program(path, "v1.1.0")
	require.Empty(t, u.Program(), "it has arrived")
	require.True(t, u.OnTrial())
	require.Equal(t, s.installed, u.Installed())
	require.ErrorIs(t, u.Stage(t.Context(), "v1.2.0"), update.ErrPending, "one trial at a time")
	u.Welcomed()
	require.False(t, u.OnTrial())
	<-u.Welcome()
	u.Welcomed() // each session does
	for range 5 {
		require.Equal(t, path, s.next(), "it stays, however often it is started")
	}

	s.serve("1.2.0", script("v1.2.0"))
	require.NoError(t, u.Stage(t.Context(), "v1.2.0"), "a leading v says nothing")
	require.NoError(t, u.Stage(t.Context(), "v1.2.0"), "it may be asked twice, as after a lost answer")
	second := s.next()
	require.NotEqual(t, path, second)
	require.Len(t, s.fetched(), 2, "the one before is kept")
	u = s.program(second, "v1.2.0")
	require.Empty(t, u.Program())
	require.NoError(t, u.Back("no welcome"))
	for range 5 {
		require.Equal(t, path, s.next(), "back to the one before, not to the installed one, and for good")
	}
	require.Contains(t, u.Problem(), "1.2.0: no welcome; back to v1.1.0")
	require.Len(t, s.fetched(), 1, "what was given up is removed")
}

func TestWhatMayNotBeRun(t *testing.T) {
	stranger, _, err := release.GenerateKey()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		order   string
		prepare func(*site)
		config  func(*update.Config)
		is      error
		says    string
	}{
		"signed by another key": {prepare: func(s *site) { s.serveAs("v1.1.0", script("v1.1.0"), "linux", "amd64", stranger) }, is: release.ErrSignature},
		"not signed":            {prepare: func(s *site) { s.serveAs("v1.1.0", script("v1.1.0"), "linux", "amd64", release.PrivateKey{}) }, is: release.ErrSignature},
		"another manifest": {prepare: func(s *site) {
			s.files[name+".manifest"] = bytes.Replace(s.files[name+".manifest"], []byte("v1.1.0"), []byte("v1.1.1"), 1)
		}, order: "v1.1.1", is: release.ErrSignature},
		"no manifest's form":     {prepare: func(s *site) { s.files[name+".manifest"] = []byte("<html>") }, is: release.ErrManifest},
		"an endless manifest":    {prepare: func(s *site) { s.files[name+".manifest"] = bytes.Repeat([]byte("x"), 1<<20) }, is: release.ErrManifest},
		"another version":        {order: "v1.3.0", is: release.ErrOther},
		"another platform":       {prepare: func(s *site) { s.serveAs("v1.1.0", script("v1.1.0"), "linux", "arm64", s.key) }, is: release.ErrOther},
		"the same version":       {order: "v1.0.0", prepare: func(s *site) { s.serve("v1.0.0", script("v1.0.0")) }, says: "must go forward"},
		"an older version":       {order: "v0.9.0", prepare: func(s *site) { s.serve("v0.9.0", script("v0.9.0")) }, says: "must go forward"},
		"no version":             {order: "../../etc", says: "not the version of a release"},
		"truncated":              {prepare: func(s *site) { s.files[name] = s.files[name][:20] }, is: release.ErrContent},
		"longer":                 {prepare: func(s *site) { s.files[name] = append(s.files[name], "\n# more"...) }, is: release.ErrContent},
		"other bytes":            {prepare: func(s *site) { s.files[name] = bytes.ToUpper(s.files[name]) }, is: release.ErrContent},
		"larger than allowed":    {config: func(c *update.Config) { c.Limit = 10 }, says: "10 are the most"},
		"not there":              {prepare: func(s *site) { delete(s.files, name) }, is: update.ErrFetch, says: "status 404"},
		"does not run":           {prepare: func(s *site) { s.serve("v1.1.0", []byte("#!/bin/sh\nexit 1\n")) }, says: "does not run here"},
		"is no program":          {prepare: func(s *site) { s.serve("v1.1.0", []byte{0x7f, 'E', 'L', 'F', 0}) }, says: "does not run here"},
		"says another version":   {prepare: func(s *site) { s.serve("v1.1.0", script("v1.0.9")) }, says: "does not say that it is"},
		"no key pinned":          {prepare: func(s *site) { require.NoError(s.t, os.Remove(s.folder.Join("update-key.pub"))) }, says: "no key for updates is pinned"},
		"a key that anyone sets": {prepare: func(s *site) { require.NoError(s.t, os.Chmod(s.folder.Join("update-key.pub"), 0o666)) }, is: identity.ErrOpen},
		"forbidden":              {config: func(c *update.Config) { c.Allowed = func() bool { return false } }, is: update.ErrForbidden},
		"the hub is away":        {prepare: func(s *site) { s.hub.Close() }, is: update.ErrFetch},
		"elsewhere": {prepare: func(s *site) {
			other := httptest.NewServer(s.hub.Config.Handler)
			s.t.Cleanup(other.Close)
			s.hub.Config.Handler = http.RedirectHandler(other.URL+"/install/"+name+".manifest", http.StatusFound)
		}, is: update.ErrFetch, says: "status 302"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.serve("v1.1.0", script("v1.1.0"))
			if c.prepare != nil {
				c.prepare(s)
			}
			change := func(*update.Config) {}
			if c.config != nil {
				change = c.config
			}
			order := c.order
			if order == "" {
				order = "v1.1.0"
			}
			err := s.program(s.installed, "v1.0.0", change).Stage(t.Context(), order)
			require.Error(t, err)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.ErrorContains(t, err, c.says)
			require.Empty(t, s.next(), "all is as before")
			require.Empty(t, s.fetched(), "and nothing is left")
		})
	}
}

func TestAnOrderThatNobodyWaitsFor(t *testing.T) {
	s := newSite(t)
	s.serve("v1.1.0", script("v1.1.0"))
	began := make(chan struct{})
	inner := s.hub.Config.Handler
	s.hub.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".manifest") {
			inner.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(s.files[name])))
		_, _ = w.Write(s.files[name][:5])
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	u := s.program(s.installed, "v1.0.0")
	go func() {
		<-began
		cancel()
	}()
	err := u.Stage(ctx, "v1.1.0")
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, s.fetched())
	require.Empty(t, s.next())

	s.hub.Config.Handler = inner
	require.NoError(t, u.Stage(t.Context(), "v1.1.0"), "the next one is let through")
}

func TestACrashLoopGoesBack(t *testing.T) {
	s := newSite(t)
	s.serve("v1.1.0", script("v1.1.0"))
	require.NoError(t, s.program(s.installed, "v1.0.0").Stage(t.Context(), "v1.1.0"))
	for range 3 {
		require.NotEmpty(t, s.next(), "it is started, and dies before it can say anything")
	}
	require.Empty(t, s.next(), "three times is enough")
	require.Contains(t, s.program(s.installed, "v1.0.0").Problem(), "v1.1.0: it was started 3 times and never welcomed by the hub; back to the installed program")
	require.Empty(t, s.fetched())
	require.Empty(t, s.next())

	require.NoError(t, s.program(s.installed, "v1.0.0").Stage(t.Context(), "v1.1.0"), "an order anew is a new trial")
	require.NotEmpty(t, s.next())
	require.Empty(t, s.program(s.installed, "v1.0.0").Problem())
}

func TestOneThatHangsGoesBackAtTheNextStart(t *testing.T) {
	s := newSite(t)
	s.serve("v1.1.0", script("v1.1.0"))
	short := func(c *update.Config) { c.Deadline = time.Nanosecond }
	require.NoError(t, s.program(s.installed, "v1.0.0", short).Stage(t.Context(), "v1.1.0"))
	require.NotEmpty(t, s.program(s.installed, "v1.0.0", short).Program(), "the first start is its chance, however late")
	after := s.program(s.installed, "v1.0.0", short)
	require.Empty(t, after.Program())
	require.Equal(t, "v1.1.0: the hub did not welcome it within 1ns; back to the installed program", after.Problem())
}

func TestAnActiveProgramThatIsNotWhatItWas(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, string){
		"gone":    func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"changed": func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, script("v6.6.6"), 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.serve("v1.1.0", script("v1.1.0"))
			require.NoError(t, s.program(s.installed, "v1.0.0").Stage(t.Context(), "v1.1.0"))
			path := s.next()
			u := s.program(path, "v1.1.0")
			require.Empty(t, u.Program())
			u.Welcomed()
			spoil(t, path)
			require.Empty(t, s.next())
			require.Contains(t, u.Problem(), name)
		})
	}
}

func TestWhoInstallsHasTheLastWord(t *testing.T) {
	s := newSite(t)
	s.serve("v1.1.0", script("v1.1.0"))
	require.NoError(t, s.program(s.installed, "v1.0.0").Stage(t.Context(), "v1.1.0"))
	require.NotEmpty(t, s.next())
	require.NoError(t, os.WriteFile(s.installed, script("v0.9.0"), 0o755))
	require.Empty(t, s.next(), "an operator who installs an older version means it")
	require.Empty(t, s.fetched())
	require.Empty(t, s.program(s.installed, "v0.9.0").Problem())
}

func TestAProgramThatCantBeExecuted(t *testing.T) {
	s := newSite(t)
	s.serve("v1.1.0", script("v1.1.0"))
	u := s.program(s.installed, "v1.0.0")
	require.NoError(t, u.Stage(t.Context(), "v1.1.0"))
	require.NotEmpty(t, s.next())
	require.NoError(t, u.NotStarted(errors.New("exec format error")))
	require.Empty(t, s.next())
	require.Contains(t, u.Problem(), "exec format error")
}

func TestAFetchedProgramNeedsItsInstalledOne(t *testing.T) {
	s := newSite(t)
	s.serve("v1.1.0", script("v1.1.0"))
	require.NoError(t, s.program(s.installed, "v1.0.0").Stage(t.Context(), "v1.1.0"))
	path := s.next()
	for _, installed := range []string{"", path} {
		t.Setenv(update.InstalledEnv, installed)
		_, err := update.New(update.Config{Folder: s.folder, Executable: path})
		require.ErrorContains(t, err, "was not started by the installed program")
	}
}

func TestADamagedStateStopsNobody(t *testing.T) {
	for _, text := range []string{"{", `{"active":{"version":"v1","sha256":"../../../bin/sh"}}`} {
		s := newSite(t)
		s.serve("v1.1.0", script("v1.1.0"))
		require.NoError(t, s.folder.Write("update.json", []byte(text)))
		require.Empty(t, s.next(), "the installed program goes on")
		u := s.program(s.installed, "v1.0.0")
		require.Contains(t, u.Problem(), "update.json", "and says what happened")
		require.NoError(t, u.Stage(t.Context(), "v1.1.0"))
		require.NotEmpty(t, s.next())
	}
}

func TestWhyAHostTakesNoUpdates(t *testing.T) {
	s := newSite(t)
	u := s.program(s.installed, "v1.0.0")
	require.Empty(t, u.Forbidden())
	require.Contains(t, s.program(s.installed, "v1.0.0", func(c *update.Config) { c.Allowed = func() bool { return false } }).Forbidden(), "policy")
	require.NoError(t, os.WriteFile(s.folder.Join("update-key.pub"), []byte("none\n"), 0o600))
	require.Regexp(t, "^the key for updates: ", u.Forbidden())
	require.NoError(t, os.Remove(s.folder.Join("update-key.pub")))
	require.Equal(t, "no key for updates is pinned on this host: put it into "+s.folder.Join("update-key.pub"), u.Forbidden())
	require.ErrorIs(t, u.Stage(t.Context(), "v1.1.0"), update.ErrRefused)
}

func TestDeadlineDefault(t *testing.T) {
	s := newSite(t)
	require.Equal(t, 2*time.Minute, s.program(s.installed, "v1.0.0").Deadline())
}
