package runner

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	hubclient "github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/shipfoxapi"
	"github.com/slipway-ci/slipway/hub/runnerapi"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
)

// realHub is the hub itself, so that the fake one can't be wrong unnoticed.
type realHub struct {
	t      *testing.T
	queue  *queue.Queue
	client *hubclient.Client
	url    string
}

func newRealHub(t *testing.T) *realHub {
	t.Helper()
	dir := storetest.Dir(t)
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	q, err := queue.New(t.Context(), queue.Config{Store: db, RenewInterval: 100 * time.Millisecond})
	require.NoError(t, err)
	kept, err := logs.New(logs.Config{Dir: dir + "/logs"})
	require.NoError(t, err)
	fox, err := shipfoxapi.New(shipfoxapi.Config{Queue: q})
	require.NoError(t, err)
	own, err := runnerapi.New(runnerapi.Config{Queue: q, Logs: kept})
	require.NoError(t, err)
	people, err := api.New(api.Config{Queue: q, Logs: kept})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/", fox.Handler())
	mux.Handle(runnerapi.Prefix, own)
	mux.Handle(api.Prefix, people)
	server := httptest.NewServer(mux)
	admin, _, err := api.FirstAdmin(t.Context(), q)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	c, err := hubclient.New(hubclient.Config{URL: server.URL, Token: admin.Reveal(), HTTP: &http.Client{Transport: transport}})
	require.NoError(t, err)
	return &realHub{t: t, queue: q, client: c, url: server.URL}
}

// start launches a runner with a registration token of many uses.
func (h *realHub) start() *exec.Cmd {
	h.t.Helper()
	token, err := h.client.CreateToken(h.t.Context(), hubclient.TokenSpec{Kind: "registration"})
	require.NoError(h.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{envMode + "=runner", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + h.t.TempDir(),
		envURL + "=" + h.url, envLabels + "=linux,x64", envRegistration + "=" + token.Secret, envPoll + "=20000"}
	require.NoError(h.t, cmd.Start())
	h.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestAgainstTheHub(t *testing.T) {
	t.Parallel()
	h, ctx := newRealHub(t), t.Context()
	job, err := h.client.Submit(ctx, hubclient.JobSpec{Labels: []string{"linux"}, Env: map[string]string{"WHO": "you"},
		Run: "seq 1 100000; echo hello $WHO; exit 5"}, "")
	require.NoError(t, err)
	var log bytes.Buffer
	var following sync.WaitGroup
	var failed error
	following.Go(func() { failed = h.client.Logs(ctx, job.ID, hubclient.LogOptions{Follow: true}, &log) })
	require.NoError(t, h.start().Wait())
	following.Wait()
	require.NoError(t, failed)
	job, err = h.client.Job(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, "failed", job.Status)
	require.Equal(t, 5, *job.ExitCode)
	require.Equal(t, int64(log.Len()), job.LogBytes)
	require.True(t, strings.HasPrefix(log.String(), "1\n2\n") && strings.HasSuffix(log.String(), "\n100000\nhello you\n"))
}

func TestCancelThroughTheHub(t *testing.T) {
	t.Parallel()
	h, ctx := newRealHub(t), t.Context()
	job, err := h.client.Submit(ctx, hubclient.JobSpec{Labels: []string{"linux"}, Command: []string{"sleep", "60"}}, "")
	require.NoError(t, err)
	cmd := h.start()
	require.Eventually(t, func() bool {
		job, err = h.client.Job(ctx, job.ID)
		return err == nil && job.Status == "running"
	}, 30*time.Second, 10*time.Millisecond)
	_, err = h.client.Cancel(ctx, job.ID)
	require.NoError(t, err)
	job, err = h.client.Wait(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, "cancelled", job.Status)
	require.Equal(t, 128+int(syscall.SIGTERM), *job.ExitCode)
	require.NoError(t, cmd.Wait())
}
