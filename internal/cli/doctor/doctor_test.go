package doctor

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/internal/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHub answers as a hub does whose runners are at runnerURL.
func fakeHub(t *testing.T, runnerURL string, date time.Time) Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
		switch r.URL.Path {
		case "/readyz":
			_, _ = fmt.Fprintln(w, "ok")
		case "/api/v1/hub":
			if r.Header.Get("Authorization") != "Bearer good" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = fmt.Fprintf(w, `{"version":"v1","runner_url":%q,"disk_free_bytes":1024,"disk_total_bytes":4096,"disk_full":true}`, runnerURL)
		}
	}))
	t.Cleanup(server.Close)
	return Config{URL: server.URL, Token: "good", Asked: true, Image: "no-such-image:1", Dir: t.TempDir()}
}

func results(findings []Finding) map[string]Result {
	out := map[string]Result{}
	for _, f := range findings {
		out[f.Check] = f.Result
	}
	return out
}

func withoutEngine(t *testing.T) {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
}

func TestFindings(t *testing.T) {
	withoutEngine(t)
	config := fakeHub(t, "http://127.0.0.1:1", time.Now())
	require.Equal(t, map[string]Result{"hub": OK, "clock": OK, "disk": Fail, "engine": Warn, "way": Skip}, results(Examine(t.Context(), config)))

	config.Token = "bad"
	require.Equal(t, Fail, results(Examine(t.Context(), config))["hub"])
	config.Token = ""
	got := results(Examine(t.Context(), config))
	require.Equal(t, OK, got["hub"], "it answers")
	require.Equal(t, OK, got["disk"], "the folder's")

	gone := Config{URL: "http://127.0.0.1:1", Dir: filepath.Join(t.TempDir(), "missing")}
	got = results(Examine(t.Context(), gone))
	require.Equal(t, Skip, got["hub"], "nobody asked for one")
	require.Equal(t, Warn, got["disk"])
	gone.Asked = true
	require.Equal(t, Fail, results(Examine(t.Context(), gone))["hub"])
}

// What never answers is given up, and what is known by then has been told.
func TestAnEngineThatNeverAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	began := time.Now()
	t.Setenv("DOCKER_HOST", "unix://"+path)
	told, asked := make(chan string, 10), make(chan int, 1)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			defer func() { _ = c.Close() }()
			select {
			case asked <- len(told):
			default:
			}
		}
	}()
	config := fakeHub(t, "", time.Now())
	config.Patience = time.Second
	config.Found = func(f Finding) { told <- f.Check }
	got := Examine(t.Context(), config)
	require.NoError(t, l.Close())
	require.Equal(t, 3, <-asked, "each finding is told before the next look")
	require.Len(t, told, 5)
	require.Equal(t, Warn, results(got)["engine"], "%v", got)
	require.Equal(t, Finding{"way", Skip, "there is no engine"}, got[4], "it is not asked again")
	require.Less(t, time.Since(began), 10*time.Second)
}

func TestAnAddressThatIsNone(t *testing.T) {
	t.Setenv("DOCKER_HOST", "garbage")
	got := Examine(t.Context(), Config{URL: "http://127.0.0.1:1", Dir: "/"})
	require.Equal(t, Fail, results(got)["engine"], "%v", got)
	require.Equal(t, Skip, results(got)["way"], "%v", got)
}

func TestClocksThatAreApart(t *testing.T) {
	withoutEngine(t)
	for apart, want := range map[time.Duration]Result{-2 * time.Second: OK, 20 * time.Second: Warn, -2 * time.Hour: Fail} {
		require.Equal(t, want, results(Examine(t.Context(), fakeHub(t, "", time.Now().Add(apart))))["clock"], "%s", apart)
	}
}

func TestTheWayFromInsideAContainer(t *testing.T) {
	image := enginetest.BusyboxImage(t)
	t.Setenv("TMPDIR", t.TempDir())

	// Without a hub a listener of the doctor's own stands in.
	got := Examine(t.Context(), Config{URL: "http://127.0.0.1:1", Image: image, Dir: "/"})
	require.Equal(t, OK, results(got)["engine"], "%v", got)
	require.Equal(t, OK, results(got)["way"], "%v", got)

	// Loopback is the container's own.
	config := fakeHub(t, "http://127.0.0.1:1", time.Now())
	config.Image = image
	got = Examine(t.Context(), config)
	require.Equal(t, Fail, results(got)["way"], "%v", got)
	require.Contains(t, got[4].Detail, "--runner-url")

	config.Image = "no-such-image:1"
	require.Equal(t, Skip, results(Examine(t.Context(), config))["way"])
}
