package runner

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

func TestRunsOneJob(t *testing.T) {
	t.Parallel()
	job := script("env", "echo out; echo err >&2; echo out again", "pwd", "ls -A", "touch here $TMPDIR/there")
	job["env"] = map[string]string{"GREETING": "hello there", "HOME": "/elsewhere"}
	h := newHub(t, job)
	r := launch(t, h, "NODE_VERSION=22", "SLIPWAY_CA_FILE=", "LEAK="+tokens.New(tokens.Admin).Reveal())
	res := r.ok(h)
	zero := 0
	require.Equal(t, result{Outcome: "succeeded", ExitCode: &zero, LogBytes: res.LogBytes}, res)

	log := h.logged()
	require.Contains(t, log, "out\nerr\nout again\n", "stdout and stderr in order")
	for _, line := range []string{"GREETING=hello there", "HOME=/elsewhere", "SLIPWAY_JOB_ID=4b2e-job", "CI=true", "LANG=C.UTF-8", "NODE_VERSION=22"} {
		require.Contains(t, log, line+"\n")
	}
	require.Contains(t, log, "TMPDIR="+r.tmp+"/slipway-job-")
	require.NotContains(t, log, "SHIPFOX_")
	require.NotContains(t, log, "sf_", "no token, whatever the variable is called")
	require.Regexp(t, r.tmp+`/slipway-job-\d+/work\n$`, log, "the folder must be the job's own, and empty")

	require.Equal(t, r.token.Reveal(), h.bodies["registered with"])
	require.JSONEq(t, `{"labels": ["linux", "x64"]}`, h.bodies["runners/register"])
	require.Equal(t, "api/v1/runner/hello", h.paths[0], "hello comes before everything")
	require.Equal(t, 1, h.count("runners/jobs/request"))
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("echo yes"))
	token := tokens.New(tokens.Bootstrap)
	r := launch(t, h, envRegistration+"=", envBootstrap+"="+token.Reveal())
	require.Equal(t, "succeeded", r.ok(h).Outcome)
	require.JSONEq(t, `{"bootstrap_token": "`+token.Reveal()+`"}`, h.bodies["runner-enrollment/exchange"])
	require.JSONEq(t, `{"labels": ["linux", "x64"], "provider_kind": "slipway", "protocol_version": "1"}`, h.bodies["runner-control/enrollment"])
	require.Equal(t, 3, h.count("runner-control/assignment"))
	require.Equal(t, "activation", h.bodies["registered with"])
}

func TestControlSessionEnded(t *testing.T) {
	t.Parallel()
	h := newHub(t, nil)
	h.on = answerWith("runner-control/assignment", 409, "runner-control-session-invalid")
	r := launch(t, h, envRegistration+"=", envBootstrap+"="+tokens.New(tokens.Bootstrap).Reveal())
	require.Equal(t, ExitDone, r.exit(), "the hub wants it no more: that is no failure")
	require.Zero(t, h.count("runners/register"))
}

func TestNoJob(t *testing.T) {
	t.Parallel()
	h := newHub(t, nil)
	h.on = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "runners/jobs/request" {
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		return false
	}
	r := launch(t, h, envPoll+"=2500")
	require.Equal(t, ExitDone, r.exit(), "%s", r.text())
	require.Greater(t, h.count("runners/jobs/request"), 1)
	require.Less(t, h.count("runners/jobs/request"), 11, "polls must be spaced")
}

func TestRetiredRunnerEnds(t *testing.T) {
	t.Parallel()
	h := newHub(t, nil)
	h.on = answerWith("runners/jobs/request", 409, "runner-session-exhausted")
	r := launch(t, h)
	require.Equal(t, ExitDone, r.exit(), "%s", r.text())
	require.Equal(t, 1, h.count("runners/jobs/request"))
}

func TestStoppedWhileItWaits(t *testing.T) {
	t.Parallel()
	h := newHub(t, nil)
	asked := make(chan struct{}, 1)
	h.on = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "runners/jobs/request" {
			return false
		}
		w.WriteHeader(http.StatusNoContent)
		poke(asked)
		return true
	}
	r := launch(t, h)
	<-asked
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, ExitDone, r.exit(), "%s", r.text())
	require.Contains(t, r.text(), "runner-stopped")
}

func TestNotSlipway(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"not found":    func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404, "not-found", nil) },
		"server error": func(w http.ResponseWriter, _ *http.Request) { refuse(w, 500, "server-error", nil) },
		"no content":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"empty":        func(http.ResponseWriter, *http.Request) {},
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"other product": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, map[string]any{"product": "x", "protocol": 1})
		},
		"other protocol": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, map[string]any{"product": "slipway", "protocol": 2})
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, nil)
			h.on = func(w http.ResponseWriter, r *http.Request) bool { answer(w, r); return true }
			r := launch(t, h)
			require.Equal(t, ExitNotSlipway, r.exit(), "%s", r.text())
			require.Equal(t, 1, strings.Count(r.text(), "\n"), "one line is wanted: %s", r.text())
			require.Equal(t, []string{"api/v1/runner/hello"}, h.paths, "nothing may be claimed, and no credential sent")
		})
	}
}

func TestUsage(t *testing.T) {
	h := newHub(t, nil)
	for setting, names := range map[string]string{
		envURL + "=":                                envURL,
		envURL + "=hub.example":                     envURL,
		envURL + "=http://hub.example/?a=b":         envURL + ": a URL without user, password, query (?)",
		envURL + "=http://hub.example/?":            envURL + ": a URL without",
		envURL + "=http://hub.example/#part":        envURL + ": a URL without",
		envURL + "=https://me:hunter2@hub.example/": envURL + ": a URL without",
		envRegistration + "=":                       envRegistration,
		envRegistration + "=sf_ert_short":           envRegistration,
		envBootstrap + "=sf_rbt_x":                  envBootstrap,
		envLabels + "=":                             envLabels,
		envLabels + "=a b":                          envLabels,
		envPoll + "=soon":                           envPoll,
		envLifetime + "=-1":                         envLifetime,
		envCA + "=/does/not/exist":                  envCA,
		envProvider + "=" + strings.Repeat("x", 65): envProvider,
		"SLIPWAY_RUNNER_CREDENTIAL_FD=0":            "SLIPWAY_RUNNER_CREDENTIAL_FD",
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			r := launch(t, h, setting)
			require.Equal(t, ExitUsage, r.exit(), "%s", r.text())
			require.Contains(t, r.text(), names)
			require.NotContains(t, r.text(), "hunter2", "a password must not be told")
			require.Equal(t, 1, strings.Count(r.text(), "\n"), "one line is wanted: %s", r.text())
		})
	}
}

func TestPollDurationZeroIsTheLifetime(t *testing.T) {
	t.Parallel()
	c, err := configFrom([]string{
		envURL + "=http://127.0.0.1:1", envLabels + "=linux", envPoll + "=0", envLifetime + "=7200",
		envRegistration + "=" + tokens.New(tokens.ManualRegistration).Reveal(),
	})
	require.NoError(t, err)
	require.Equal(t, 2*time.Hour, c.withDefaults().PollDuration)
}

func TestWhatIsWrongWithASettingIsSaid(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		envLabels + "=":                       envLabels + ": not set",
		envLabels + "=a b":                    envLabels + `: label "a b"`,
		envPoll + "=-1":                       envPoll + `: "-1" is no whole number of 0 or more`,
		envPoll + "=1.5":                      envPoll + `: "1.5" is no whole number of 0 or more`,
		envLifetime + "=0":                    envLifetime + `: "0" is no whole number of 1 or more`,
		envLifetime + "=99999999999999":       envLifetime + `: "99999999999999" is too large: 1 to 2147483647 is allowed`,
		envPoll + "=2147483648":               envPoll + `: "2147483648" is too large: 0 to 2147483647 is allowed`,
		envPoll + "=-99999999999999999999999": envPoll + `: "-99999999999999999999999" is no whole number of 0 or more`,
	} {
		_, err := configFrom([]string{
			envURL + "=http://127.0.0.1:1", envLabels + "=linux", envRegistration + "=" + tokens.New(tokens.ManualRegistration).Reveal(), setting,
		})
		require.ErrorIs(t, err, ErrUsage)
		require.ErrorContains(t, err, want)
	}
}

// A runner that can't run a job leaves it, and its credential, to one that can.
func TestNothingIsClaimedWithoutAWorkFolder(t *testing.T) {
	t.Parallel()
	for name, tmp := range map[string]string{"none": "/dev/null/tmp", "read-only or full": "/proc"} {
		h := newHub(t, script("true"))
		r := launch(t, h, "TMPDIR="+tmp)
		require.Equal(t, ExitFailed, r.exit(), "%s: %s", name, r.text())
		require.Contains(t, r.text(), "slipway-runner: make work folder: ")
		require.Equal(t, 1, strings.Count(r.text(), "\n"), "one line is wanted: %s", r.text())
		require.Empty(t, h.paths, "the hub is asked for nothing")
	}
}

func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t, nil)
	h.on = answerWith("runners/register", 409, "registration-token-consumed")
	r := launch(t, h)
	require.Equal(t, ExitFailed, r.exit())
	require.Contains(t, r.text(), "registration-token-consumed")
	require.Equal(t, 1, h.count("runners/register"), "a final answer is not to be argued with")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	h := newHub(t, nil)
	h.start()
	h.server.Close()
	r := launch(t, h, envPoll+"=500")
	require.Equal(t, ExitFailed, r.exit(), "%s", r.text())
}

func TestMoreRoots(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("true"))
	secure := httptest.NewTLSServer(h)
	t.Cleanup(secure.Close)
	h.url = secure.URL + "/some/prefix"
	file := certificateFile(t, secure)

	r := launch(t, h, envCA+"="+file)
	require.Equal(t, "succeeded", r.ok(h).Outcome)

	asked := len(h.paths)
	r = launch(t, h)
	waitText(t, r, "certificate")
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	r.exit()
	require.Len(t, h.paths, asked, "an unknown certificate must not be trusted")
}

// answerWith refuses one route.
func answerWith(path string, status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		refuse(w, status, code, nil)
		return true
	}
}
