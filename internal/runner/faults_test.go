package runner

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every answer that can be lost is lost once, and every route fails twice.
func TestLostAnswersAndErrors(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("seq 1 30000", "sleep 0.5", "echo end"))
	seen := map[string]int{}
	lossy := map[string]bool{"api/v1/runner/log": true, "api/v1/runner/result": true, "api/v1/runner/job": true, "runners/jobs/4b2e-job/heartbeat": true}
	nth := func(path string) int {
		h.mu.Lock()
		defer h.mu.Unlock()
		seen[path]++
		return seen[path]
	}
	h.on = func(w http.ResponseWriter, r *http.Request) bool {
		n := nth(r.URL.Path)
		if n == 1 {
			refuse(w, http.StatusServiceUnavailable, "server-error", nil)
		} else if n == 2 {
			panic(http.ErrAbortHandler)
		}
		return n <= 2
	}
	h.lose = func(r *http.Request) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return lossy[r.URL.Path] && seen[r.URL.Path] == 3
	}
	require.Equal(t, "succeeded", launch(t, h).ok(h).Outcome)
	var want strings.Builder
	for i := range 30000 {
		want.WriteString(strconv.Itoa(i+1) + "\n")
	}
	require.Equal(t, want.String()+"end\n", h.logged(), "the log must be whole, once")
	require.Len(t, h.results, 2, "sent again after the lost answer")
}

func TestLeaseEnded(t *testing.T) {
	for name, answer := range map[string]struct {
		path   string
		status int
		code   string
	}{
		"told to the log":     {"api/v1/runner/log", 409, "lease-ended"},
		"told to the renewal": {"runners/jobs/4b2e-job/heartbeat", 404, "running-job-execution-not-found"},
		"told to the job":     {"api/v1/runner/job", 409, "lease-ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, script("echo up", "sleep 60"))
			h.on = answerWith(answer.path, answer.status, answer.code)
			r := launch(t, h)
			require.Equal(t, ExitFailed, r.exit(), "%s", r.text())
			require.Zero(t, h.count("api/v1/runner/result"), "what comes with an ended lease changes nothing")
		})
	}
}

func TestLeaseNotRenewedInTime(t *testing.T) {
	t.Parallel()
	h := newHub(t, with(script("echo $$", "sleep 60"), "lease_ttl_seconds", 1))
	refuses := answerWith("runners/jobs/4b2e-job/heartbeat", 503, "server-error")
	h.on = func(w http.ResponseWriter, r *http.Request) bool { return h.logged() != "" && refuses(w, r) }
	r := launch(t, h)
	require.Equal(t, ExitFailed, r.exit(), "%s", r.text())
	require.Contains(t, r.text(), "not renewed in time")
	gone(t, h.logged())
	require.Zero(t, h.count("api/v1/runner/result"))
}

func TestResultRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("true"))
	h.on = answerWith("api/v1/runner/result", 409, "lease-ended")
	r := launch(t, h)
	require.Equal(t, ExitFailed, r.exit(), "it was run and not reported: %s", r.text())
	require.Contains(t, r.text(), "slipway-runner: report result succeeded: 409 lease-ended")
	require.Equal(t, 1, h.count("api/v1/runner/result"), "a 4xx is final")
}

func TestNewestLeaseIsUsed(t *testing.T) {
	t.Parallel()
	renewed := filepath.Join(t.TempDir(), "renewed")
	h := newHub(t, script("until test -e "+renewed+"; do sleep 0.05; done", "echo late")) // the fake refuses leases older than five renewals
	h.on = func(http.ResponseWriter, *http.Request) bool {
		if h.count("runners/jobs/4b2e-job/heartbeat") > 8 {
			write(t, renewed)
		}
		return false
	}
	require.Equal(t, "succeeded", launch(t, h).ok(h).Outcome)
	require.Equal(t, "late\n", h.logged())
}

// A job that floods meets a hub that is slow, then refuses for a while.
func TestHugeLog(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	h := newHub(t, script("head -c "+strconv.Itoa(size)+" /dev/zero | tr '\\0' x", "echo; echo end"))
	var requests atomic.Int64
	h.on = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "api/v1/runner/log" {
			return false
		}
		n := requests.Add(1)
		if n == 20 {
			refuse(w, http.StatusInternalServerError, "server-error", nil)
		}
		if n == 1 {
			refuse(w, http.StatusRequestEntityTooLarge, "body-too-large", nil)
		}
		return n == 20 || n == 1
	}
	require.Equal(t, "succeeded", launch(t, h).ok(h).Outcome)
	log := h.logged()
	require.Len(t, log, size+5)
	require.Equal(t, size, strings.Count(log, "x"))
	require.Less(t, requests.Load(), int64(size/(64<<10)), "parts must be batched")
}

// The hub takes no log at all: the job waits for a while, and goes on.
func TestLogNeverTaken(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("head -c 8000000 /dev/zero"))
	h.on = answerWith("api/v1/runner/log", 500, "server-error")
	res := launch(t, h).ok(h)
	require.Equal(t, "succeeded", res.Outcome, "a log must not hold up a job for ever")
	require.Positive(t, res.LogBytes, "there was a log, even though nobody has it")
}

// write makes an empty file that a job waits for.
func write(t *testing.T, file string) { assert.NoError(t, os.WriteFile(file, nil, 0o600)) }

// The hub takes the log again once the job has gone on without it, and the job says
// its last word once there is room for it.
func TestLogTakenAgain(t *testing.T) {
	t.Parallel()
	past, taken := filepath.Join(t.TempDir(), "past"), filepath.Join(t.TempDir(), "taken")
	h := newHub(t, script("head -c 8000000 /dev/zero | tr '\\0' x", "echo over; touch "+past, "while ! test -e "+taken+"; do sleep 0.1; done; echo end"))
	var accepted atomic.Int64
	h.on = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "api/v1/runner/log" {
			return false
		}
		if _, err := os.Stat(past); err != nil {
			refuse(w, 500, "server-error", nil)
			return true
		}
		if accepted.Add(1) == 2 { // the runner has seen that the first one was
			write(t, taken)
		}
		return false
	}
	require.Equal(t, "succeeded", launch(t, h).ok(h).Outcome)
	log := h.logged()
	require.True(t, regexp.MustCompile(`(?s)^x+\n\[slipway: \d+ bytes of the log are missing here\]\n.*end\n$`).MatchString(log), "%d bytes, the last %q", len(log), log[max(len(log)-200, 0):])
}

func TestStorageFullAndGap(t *testing.T) {
	t.Parallel()
	sent := filepath.Join(t.TempDir(), "sent")
	until := func(n int) string { return fmt.Sprintf("until test -e %s%d; do sleep 0.05; done", sent, n) }
	h := newHub(t, script("echo one", until(1), "echo two", until(2), "echo three")) // each in a request of its own
	h.on = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "api/v1/runner/log" {
			return false
		}
		n := h.count(r.URL.Path)
		write(t, fmt.Sprint(sent, n))
		switch n {
		case 1: // dropped: the hub stands a mark in for it
			body, _ := io.ReadAll(r.Body)
			h.set(func() { h.log = append(h.log, bytes.Repeat([]byte("-"), len(body))...) })
			refuse(w, http.StatusInsufficientStorage, "storage-full", map[string]any{"offset": len(body)})
			return true
		case 3: // a hub that lost its log
			h.set(func() { h.log = nil })
		}
		return false
	}
	res := launch(t, h).ok(h)
	require.Equal(t, "succeeded", res.Outcome)
	require.Equal(t, "three\n", h.logged())
}
