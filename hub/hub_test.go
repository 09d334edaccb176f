package hub_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t *testing.T) hub.Config {
	return hub.Config{
		DataDir: storetest.Dir(t), Listen: "127.0.0.1:0",
		MinFree: 1, MinFreePercent: 0.0001, Reserve: 4096,
	}
}

// serve opens and runs a hub until the test ends, or stop is called.
func serve(t *testing.T, c hub.Config) (h *hub.Hub, stop func()) {
	t.Helper()
	h, err := hub.Open(t.Context(), c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return h, stop
}

var client = &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ask returns the status and the body.
func ask(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

func TestTheMainListenerServesEveryAPI(t *testing.T) {
	h, _ := serve(t, config(t))
	admin := h.AdminToken().Reveal()
	_, provisioner, err := h.Queue().CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.Provisioner})
	require.NoError(t, err)
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		holds                     string
	}{
		{"GET", "/healthz", "", "", 200, "ok"},
		{"GET", "/readyz", "", "", 200, "ok"},
		{"POST", "/api/v1/jobs", admin, `{"labels":["a"],"run":"true"}`, 201, `"queued"`},
		{"GET", "/api/v1/jobs", admin, "", 200, `"items"`},
		{"GET", "/api/v1/jobs", "", "", 401, `"status":401`},
		{"GET", "/api/v1/hub", admin, "", 200, `"runner_url":"` + h.URL()},
		{"GET", "/api/v1/hub", provisioner.Reveal(), "", 401, "admin token"},
		{"GET", "/api/v1/runner/hello", "", "", 200, `"slipway"`},
		{"GET", "/provisioners/me", provisioner.Reveal(), "", 200, `"workspace"`},
		{"GET", "/provisioners/me", admin, "", 401, `"unauthorized"`},
		{"POST", "/runners/register", "", `{"labels":["a"]}`, 401, `"code"`},
		{"GET", "/nothing/here", "", "", 404, `"not-found"`},
	} {
		status, body := ask(t, c.method, h.URL()+c.path, c.token, c.body)
		require.Equal(t, c.status, status, "%s %s: %s", c.method, c.path, body)
		require.Contains(t, body, c.holds, "%s %s", c.method, c.path)
	}
}

func TestARunnerListenerServesRunnersAlone(t *testing.T) {
	c := config(t)
	c.RunnerListen = []string{"127.0.0.1:0"}
	h, _ := serve(t, c)
	require.Len(t, h.RunnerAddrs(), 1)
	base := "http://" + h.RunnerAddrs()[0].String()
	require.Equal(t, base, h.RunnerURL())
	admin := h.AdminToken().Reveal()

	status, _ := ask(t, "GET", base+"/api/v1/runner/hello", "", "")
	require.Equal(t, 200, status)
	status, _ = ask(t, "POST", base+"/runners/register", "", `{"labels":["a"]}`)
	require.Equal(t, 401, status)
	for _, path := range []string{"/api/v1/jobs", "/api/v1/tokens", "/api/v1/hub", "/provisioners/me", "/readyz", "/api/v1/openapi.json"} {
		status, body := ask(t, "GET", base+path, admin, "")
		require.Equal(t, 404, status, "%s must not be served to containers: %s", path, body)
	}
}

func TestTheAdminTokenIsMadeOnce(t *testing.T) {
	c := config(t)
	h, stop := serve(t, c)
	first := h.AdminToken()
	require.Equal(t, tokens.Admin, first.Kind())
	require.NoError(t, func() error { _, err := os.Stat(c.DataDir); return err }())
	stop()

	h, stop = serve(t, c)
	require.True(t, h.AdminToken().IsZero(), "there is one already")
	status, _ := ask(t, "GET", h.URL()+"/api/v1/jobs", first.Reveal(), "")
	require.Equal(t, 200, status, "it still works")
	list, err := h.Queue().Tokens(t.Context())
	require.NoError(t, err)
	for _, token := range list {
		_, err := h.Queue().RevokeToken(t.Context(), token.ID)
		require.NoError(t, err)
	}
	stop()

	h, stop = serve(t, c)
	require.False(t, h.AdminToken().IsZero(), "nobody is to be locked out for good")
	stop()
	require.NoError(t, filepath.WalkDir(c.DataDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		require.NotContains(t, string(data), first.Reveal()[12:], "%s holds the token", path)
		return err
	}))
}

func TestAJobOutlivesTheHub(t *testing.T) {
	c := config(t)
	h, stop := serve(t, c)
	job, err := h.Queue().Submit(t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "true"})
	require.NoError(t, err)
	stop()
	h, _ = serve(t, c)
	again, err := h.Queue().Job(t.Context(), job.ID)
	require.NoError(t, err)
	require.Equal(t, queue.StateQueued, again.State)
}

// A stop does not wait for those who wait for something to happen.
func TestAStopEndsWhatWaits(t *testing.T) {
	c := config(t)
	c.ShutdownTimeout = time.Minute
	h, stop := serve(t, c)
	job, err := h.Queue().Submit(t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "true"})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), "GET", h.URL()+"/api/v1/jobs/"+job.ID+"/logs?follow=true", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+h.AdminToken().Reveal())
	answer, err := client.Do(request) // the head is here, the rest comes when the job has ended
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), 30*time.Second)
	_, err = io.ReadAll(answer.Body)
	require.Error(t, err, "a log that broke off must not look whole")
	require.NoError(t, answer.Body.Close())
}

func TestTwoHubsDoNotShareAFolder(t *testing.T) {
	c := config(t)
	_, _ = serve(t, c)
	_, err := hub.Open(t.Context(), c)
	require.ErrorIs(t, err, store.ErrLocked)
}

func TestATakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	c := config(t)
	c.Listen = l.Addr().String()
	_, err = hub.Open(t.Context(), c)
	require.ErrorIs(t, err, hub.ErrListen)
	require.ErrorContains(t, err, c.Listen)
	// The folder is free again.
	c.Listen = "127.0.0.1:0"
	h, err := hub.Open(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, h.Close())
	require.NoError(t, h.Close(), "twice")
}

func TestNotReadyWhenTheDiskIsFull(t *testing.T) {
	c := config(t)
	c.MinFreePercent = 100
	h, _ := serve(t, c)
	status, body := ask(t, "GET", h.URL()+"/readyz", "", "")
	require.Equal(t, 503, status)
	require.Contains(t, body, "disk")
	status, _ = ask(t, "GET", h.URL()+"/healthz", "", "")
	require.Equal(t, 200, status)
	status, body = ask(t, "GET", h.URL()+"/api/v1/hub", h.AdminToken().Reveal(), "")
	require.Equal(t, 200, status)
	var info api.HubInfo
	require.NoError(t, json.Unmarshal([]byte(body), &info))
	require.True(t, info.Full)
	require.Positive(t, info.Total)
}

func TestConfigIsChecked(t *testing.T) {
	for field, c := range map[string]hub.Config{
		"DataDir":      {},
		"Listen":       {DataDir: "x", Listen: "nowhere"},
		"loopback":     {DataDir: "x", Listen: "0.0.0.0:0"},
		"RunnerListen": {DataDir: "x", RunnerListen: []string{"1.2.3.4"}},
		"RunnerURL":    {DataDir: "x", RunnerURL: "localhost:8570"},
		"Shutdown":     {DataDir: "x", ShutdownTimeout: -1},
		"LeaseTTL":     {DataDir: "x", LeaseTTL: 10 * time.Second},
		"JobTimeout":   {DataDir: "x", JobTimeout: -1},
		"KeepJobs":     {DataDir: "x", KeepJobs: -1},
		"KeepEvents":   {DataDir: "x", KeepEvents: -1},
		"MinFree":      {DataDir: "x", MinFreePercent: 101},
		"AgentsDir":    {DataDir: "x", AgentsDir: "/nonexistent"},
		"SysboxFile":   {DataDir: "x", SysboxFile: "/nonexistent"},
	} {
		_, err := hub.Open(t.Context(), c)
		require.ErrorIs(t, err, hub.ErrConfig, field)
		require.ErrorContains(t, err, field)
	}
	for _, listen := range []string{"localhost:0", "[::1]:0", "127.3.4.5:0"} {
		c := hub.Config{DataDir: t.TempDir(), Listen: listen, InsecureHTTP: false}
		if h, err := hub.Open(t.Context(), c); err == nil {
			require.NoError(t, h.Close())
		} else {
			require.NotErrorIs(t, err, hub.ErrConfig, listen)
		}
	}
}

func TestContainerBridgesAreServed(t *testing.T) {
	c := config(t)
	c.ContainerBridges = true
	h, _ := serve(t, c)
	if len(h.RunnerAddrs()) == 0 {
		t.Skip("this machine has no container bridge")
	}
	port := h.URL()[strings.LastIndex(h.URL(), ":"):]
	require.True(t, strings.HasSuffix(h.RunnerURL(), port), "the same port as the main listener: %s", h.RunnerURL())
	status, _ := ask(t, "GET", h.RunnerURL()+"/api/v1/runner/hello", "", "")
	require.Equal(t, 200, status)
	status, _ = ask(t, "GET", h.RunnerURL()+"/api/v1/jobs", h.AdminToken().Reveal(), "")
	require.Equal(t, 404, status)
}

func TestTheDataFolderMayBeRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	c := config(t)
	c.DataDir = "here"
	h, err := hub.Open(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, h.Close())
	require.FileExists(t, filepath.Join("here", store.DatabaseFile))
}
