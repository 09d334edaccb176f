package hub

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// smallDisk mounts a disk of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("slipway-test", dir, "tmpfs", 0, "mode=700,size="+size)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("a small disk can't be mounted here: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// fill takes up all the room there is but keep bytes.
func fill(t *testing.T, path string, keep int64) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	var disk syscall.Statfs_t
	require.NoError(t, syscall.Statfs(filepath.Dir(path), &disk))
	part := make([]byte, 4096)
	for left := int64(disk.Bavail)*disk.Bsize - keep; left > 0; left -= int64(len(part)) {
		if _, err := file.Write(part); errors.Is(err, syscall.ENOSPC) {
			break
		}
	}
}

// call asks the hub's API and returns the status and the problem's code and detail.
func (s *site) call(method, path, body string) (status int, code, detail string) {
	s.t.Helper()
	return s.callAs(s.AdminToken().Reveal(), method, "/api/v1/"+path, body)
}

func (s *site) callAs(token, method, path, body string) (status int, code, detail string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+path, strings.NewReader(body))
	require.NoError(s.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	var told struct{ Type, Detail string }
	_ = json.Unmarshal(text, &told)
	return answer.StatusCode, told.Type[strings.LastIndex(told.Type, ":")+1:], told.Detail
}

// edit is a change that somebody asks for.
type edit struct{ name, method, path, body string }

var edits = []edit{
	{"host", "POST", "hosts", `{"name": "builder-N"}`},
	{"host edit", "PATCH", "hosts/builder-01", `{"labels": {"n": "N"}}`},
	{"scale set", "POST", "scale-sets", `{"name": "set-N", "labels": ["a"], "cpu": 1, "memory": 1073741824, "max": 1, "hosts": ["builder-01"]}`},
	{"scale set edit", "PUT", "scale-sets/small", `{"labels": ["small"], "image": "img", "cpu": 1, "memory": 1073741824, "max": 3, "hosts": ["builder-01"], "env": {"N": "N"}}`},
	{"token", "POST", "tokens", `{"kind": "api", "role": "viewer", "name": "token-N"}`},
	{"credential", "PUT", "credentials/ghcr", `{"registry": "ghcr.io", "username": "robot", "password": "password-N"}`},
}

// On a disk that is full to its last byte nothing new is taken, with one clear line;
// what runs goes on: leases, results and cancels are stored. Nothing is damaged, and
// with room again all goes on by itself.
func TestAHubOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "48m")
	s := newSite(t, nil, func(c *Config) {
		c.DataDir, c.MasterKeyFile = filepath.Join(dir, "data"), filepath.Join(t.TempDir(), "key")
		c.Reserve, c.MinFree = 4<<20, 2<<20
	})
	s.create("small", nil)
	leases := s.leases(12)
	waiting, err := s.queue.Submit(t.Context(), queue.JobSpec{Labels: []string{"nobody"}, Run: "true"})
	require.NoError(t, err)
	s.waits("the reserve is there", func() bool { return s.guard.Room().Reserve })

	// The first bytes that are lacking come out of the reserve.
	other := filepath.Join(dir, "somebody-elses")
	fill(t, other, 0)
	s.waits("it is seen", s.guard.Full)
	status, code, detail := s.call("POST", "jobs", `{"labels": ["small"], "run": "true"}`)
	require.Equal(t, http.StatusInsufficientStorage, status)
	require.Equal(t, "storage-full: the hub's disk is too full for anything new", code+": "+detail)
	zero := 0
	for i, lease := range leases[:6] {
		renewal, err := s.queue.Renew(t.Context(), lease.LeaseToken, lease.JobID)
		require.NoError(t, err, "leases live on")
		status, code, _ := s.callAs(renewal.LeaseToken, "POST", "/api/v1/runner/result", `{"outcome": "succeeded", "exit_code": 0}`)
		require.Equal(t, http.StatusOK, status, "result %d: %s", i, code)
	}
	status, code, _ = s.call("POST", "jobs/"+waiting.ID+"/cancel", "")
	require.Equal(t, http.StatusOK, status, code)
	require.False(t, s.guard.Room().Reserve, "that is what it is for")

	// When that is used up as well, who asks for changes is told so, each time.
	refused, made := s.exhaust(filepath.Join(dir, "more"))
	for name, line := range refused {
		require.Equal(t, "storage-full: the hub's disk is too full for anything new", line, name)
	}
	require.Len(t, refused, len(edits))
	status, _, _ = s.call("GET", "scale-sets/small", "")
	require.Equal(t, http.StatusOK, status, "it still answers")

	// With room again all goes on.
	require.NoError(t, errors.Join(os.Remove(other), os.Remove(filepath.Join(dir, "more"))))
	s.waits("it is seen that there is room", func() bool { return !s.guard.Full() })
	for _, lease := range leases[6:] {
		require.NoError(t, s.queue.Finish(t.Context(), lease.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded, ExitCode: &zero}))
	}
	for _, e := range edits {
		status, code, detail := s.call(e.method, e.path, strings.ReplaceAll(e.body, "N", "99"))
		require.Less(t, status, 300, "%s: %s %s", e.name, code, detail)
	}
	for _, set := range made {
		_, err := s.compute.scaleSets.Get(t.Context(), set)
		require.NoError(t, err, "what was answered with success is there")
	}
	s.waits("events are stored again", func() bool {
		page, err := s.events.Newest(t.Context(), events.Filter{Object: "scale-set/set-99"}, 1)
		return err == nil && len(page.Events) == 1
	})
	s.waits("the reserve is there again", func() bool { return s.guard.Room().Reserve })
	for _, lease := range leases {
		job, err := s.queue.Job(t.Context(), lease.JobID)
		require.NoError(t, err)
		require.Equal(t, queue.StateSucceeded, job.State)
	}
	s.submit("small")
	s.waits("runners are launched", func() bool { return len(s.engine.Truth()) > 0 })
	sets, _, err := s.compute.scaleSets.List(t.Context(), scalesets.Filter{})
	require.NoError(t, err)
	require.NotEmpty(t, sets)
	var sound string
	require.NoError(t, s.store.Read(t.Context(), func(tx *store.Tx) error {
		sound, _, err = store.One(tx, store.Value[string], `PRAGMA integrity_check`)
		return err
	}))
	require.Equal(t, "ok", sound)
}

// leases are jobs that run, on a runner that the hub did not launch.
func (s *site) leases(n int) (claims []queue.Claim) {
	s.t.Helper()
	_, secret, err := s.queue.CreateToken(s.t.Context(), queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(s.t, err)
	session, err := s.queue.Register(s.t.Context(), secret.Reveal(), []string{"manual"})
	require.NoError(s.t, err)
	for range n {
		s.submit("manual")
		claim, found, err := s.queue.Claim(s.t.Context(), session.Token, false)
		require.NoError(s.t, err)
		require.True(s.t, found)
		claims = append(claims, claim)
	}
	return claims
}

// exhaust takes up what room is left and asks for changes until each is refused. It
// returns what that is answered with, and the scale sets that were made before.
func (s *site) exhaust(path string) (refused map[string]string, made []string) {
	s.t.Helper()
	refused = map[string]string{}
	for n := 0; len(refused) < len(edits); n++ {
		require.Less(s.t, n, 500, "changes are stored for ever: %v", refused)
		fill(s.t, path, 0)
		for _, e := range edits {
			status, code, detail := s.call(e.method, e.path, strings.ReplaceAll(e.body, "N", strconv.Itoa(n)))
			if status >= 300 {
				require.Equal(s.t, http.StatusInsufficientStorage, status, "%s: %s %s", e.name, code, detail)
				refused[e.name] = code + ": " + detail
			} else if e.path == "scale-sets" {
				made = append(made, "set-"+strconv.Itoa(n))
			}
		}
	}
	return refused, made
}
