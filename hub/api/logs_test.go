package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
)

// follow opens a stream.
func (h *hub) follow(path string, headers ...string) (*http.Response, *bufio.Reader) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), "GET", h.server.URL+"/api/v1/"+path, nil)
	require.NoError(h.t, err)
	req.Header.Set("Authorization", "Bearer "+h.token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := h.client.Do(req)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = res.Body.Close() })
	require.Equal(h.t, 200, res.StatusCode)
	return res, bufio.NewReader(res.Body)
}

func TestLogOfAJob(t *testing.T) {
	h := newHub(t)
	job := h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	path := "jobs/" + job.ID + "/logs"
	a := h.do("GET", path, nil)
	require.Equal(t, 200, a.status)
	require.Empty(t, a.body, "a job that has not begun has an empty log")

	claim := h.claim("a")
	h.append(claim, 0, "first\nsecond\n\xff\x00")
	a = h.do("GET", path, nil)
	require.Equal(t, "first\nsecond\n\xff\x00", a.body)
	require.Equal(t, "text/plain; charset=utf-8", a.header.Get("Content-Type"))
	require.Equal(t, "second\n\xff\x00", h.do("GET", path+"?offset=6", nil).body)
	require.Empty(t, h.do("GET", path+"?offset=600", nil).body)
	p := h.problem(404, "not-found", h.do("GET", path+"?attempt=2", nil))
	require.Equal(t, "there is no attempt 2: the job has had 1 so far", p.Detail)
	require.Contains(t, h.do("GET", path+"?attempt=1", nil).body, "first")
	h.problem(422, "invalid", h.do("GET", path+"?offset=-1", nil))

	for i := range 100 {
		h.append(claim, int64(15+100*i), strings.Repeat("x", 100))
	}
	require.Contains(t, h.do("GET", path, nil).body, "x\n[slipway: 6144 bytes of the log are missing here: the log is longer than is kept]\nx")
}

func TestFollow(t *testing.T) {
	h := newHub(t)
	job := h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	_, lines := h.follow("jobs/" + job.ID + "/logs?follow=true")
	claim := h.claim("a")
	offset := int64(0)
	for i := range 20 {
		line := fmt.Sprintf("line %d\n", i)
		h.append(claim, offset, line)
		offset += int64(len(line))
		got, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, line, got, "each line comes when it is there, not at the end")
	}
	h.finish(claim, queue.OutcomeSucceeded, 0)
	rest, err := io.ReadAll(lines)
	require.NoError(t, err, "the stream ends when the job does")
	require.Empty(t, rest)
}

func TestFollowEndsWithACancelledJob(t *testing.T) {
	h := newHub(t)
	job := h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	_, body := h.follow("jobs/"+job.ID+"/logs?follow=true", "Accept", "application/x-ndjson")
	h.do("POST", "jobs/"+job.ID+"/cancel", nil)
	var last api.LogRecord
	require.NoError(t, json.NewDecoder(body).Decode(&last))
	require.Equal(t, api.LogRecord{End: true, Status: "cancelled"}, last)
}

func TestRecords(t *testing.T) {
	h := newHub(t)
	job := h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	claim := h.claim("a")
	for i := range 100 {
		h.append(claim, int64(100*i), strings.Repeat("x", 100))
	}
	h.finish(claim, queue.OutcomeSucceeded, 0)
	a := h.do("GET", "jobs/"+job.ID+"/logs", nil, "Accept", "application/x-ndjson")
	require.Equal(t, "application/x-ndjson", a.header.Get("Content-Type"))
	var next, missing int64
	decoder := json.NewDecoder(strings.NewReader(a.body))
	for {
		var r api.LogRecord
		require.NoError(t, decoder.Decode(&r))
		if r.End {
			require.Equal(t, "succeeded", r.Status)
			break
		}
		require.Equal(t, next, r.Offset)
		require.Equal(t, 1, r.Attempt)
		next += int64(len(r.Data)) + r.Missing
		missing += r.Missing
		if r.Missing > 0 {
			require.Equal(t, "cut", r.Reason)
		}
	}
	require.Equal(t, int64(10_000), next)
	require.Positive(t, missing)
}

// A reader that stops reading is dropped, and holds up nobody meanwhile.
func TestSlowReader(t *testing.T) {
	big, err := logs.New(logs.Config{Dir: t.TempDir(), Limit: 64 << 20})
	require.NoError(t, err)
	h := newHub(t, func(c *api.Config) { c.Logs, c.WriteTimeout, c.Streams = big, 2*time.Second, 1 })
	job := h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	_, err = big.Append(logs.Key{Job: job.ID, Attempt: 1}, 0, make([]byte, 32<<20)) // more than sockets hold
	require.NoError(t, err)
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /api/v1/jobs/%s/logs?follow=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", job.ID, h.token)
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 12))
	require.NoError(t, err)

	h.problem(503, "too-many-streams", h.do("GET", "jobs/"+job.ID+"/logs", nil))
	_, err = big.Append(logs.Key{Job: job.ID, Attempt: 1}, 32<<20, []byte("more"))
	require.NoError(t, err, "a reader must not hold up the writer")
	require.Eventually(t, func() bool { return h.do("GET", "jobs/"+job.ID+"/logs?offset=99999999", nil).status == 200 },
		30*time.Second, 20*time.Millisecond, "the slow reader's place must become free")
}
