package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/cli/clitest"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

// hubAt points the commands at a handler.
func hubAt(t *testing.T, h http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	t.Setenv(remote.EnvURL, strings.Replace(server.URL, "://", "://me:hunter2@", 1))
	t.Setenv(remote.EnvToken, "sf_api_x")
	t.Setenv(remote.EnvCA, "")
	return server
}

// patient are the commands that go on through a restart of the hub.
var patient = []string{"jobs wait x --timeout 1m", "jobs logs --follow x", "jobs submit --labels a --wait -- true"}

// Why: a wrong URL that is tried for ever looks like a job that takes its time.
func TestAHubThatNeverAnsweredIsAnErrorAtOnce(t *testing.T) {
	for _, args := range patient {
		t.Run(args, func(t *testing.T) {
			hubAt(t, func(http.ResponseWriter, *http.Request) { t.Error("it is closed") }).Close()
			res := clitest.Run(t, Root, nil, strings.Fields(args)...)
			require.Equal(t, command.ExitFailed, res.Code)
			require.Contains(t, res.Stderr, "slipway: no hub answers at http://me:xxxxx@127.0.0.1:")
			require.Equal(t, 1, strings.Count(res.Stderr, "\n"), res.Stderr)
			require.Empty(t, res.Stdout)
		})
	}
}

func TestAHubThatGoesAwayAndComesBackIsToldOnce(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter){
		"no answer":        func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"one from a proxy": func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
	} {
		for _, args := range patient {
			t.Run(name+"/"+args, func(t *testing.T) {
				var asked atomic.Int64
				hubAt(t, func(w http.ResponseWriter, r *http.Request) {
					switch patiently := r.FormValue("wait_seconds")+r.FormValue("follow") != ""; {
					case patiently && asked.Add(1) <= 4, asked.Load() > 0 && asked.Load() <= 4:
						fail(w)
					case r.FormValue("follow") != "":
						_, _ = io.WriteString(w, `{"end":true}`)
					case patiently:
						_, _ = io.WriteString(w, `{"id":"x","status":"succeeded","finished_at":"2026-01-02T03:04:05Z"}`)
					default:
						_, _ = io.WriteString(w, `{"id":"x","status":"running"}`)
					}
				})
				res := clitest.Run(t, Root, nil, strings.Fields(args)...)
				require.Equal(t, command.ExitOK, res.Code, res.Stderr)
				address := strings.Replace(os.Getenv(remote.EnvURL), "hunter2", "xxxxx", 1)
				require.Equal(t, "no hub answers at "+address+": trying on\nthe hub at "+address+" answers again\n", res.Stderr)
			})
		}
	}
}

// What the hub itself refuses is no hub that is away.
func TestAHubThatIsBusyIsThere(t *testing.T) {
	var asked atomic.Int64
	hubAt(t, func(w http.ResponseWriter, _ *http.Request) {
		if n := asked.Add(1); n > 1 && n < 5 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, `{"end":true}`)
	})
	res := clitest.Run(t, Root, nil, "jobs", "logs", "--follow", "x")
	require.Equal(t, command.ExitOK, res.Code, res.Stderr)
	require.Empty(t, res.Stderr)
}

func TestForHowLongTheHubRefusesIsTold(t *testing.T) {
	for after, want := range map[string]string{
		"41":                            "too many failed attempts from this address: try again in 41s\n",
		"":                              "too many failed attempts from this address\n",
		"Wed, 21 Oct 2015 07:28:00 GMT": "too many failed attempts from this address\n",
	} {
		hubAt(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"type":"urn:slipway:problem:too-many-failures","status":429,"detail":"too many failed attempts from this address"}`)
		})
		res := clitest.Run(t, Root, nil, "whoami")
		require.Equal(t, command.ExitFailed, res.Code)
		require.Contains(t, res.Stderr, want)
		require.Equal(t, 1, strings.Count(res.Stderr, "\n"))
	}
}
