package edge_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/edge"
)

// Why: an answer that nobody reads would hold its connection, its goroutine and what
// it is made from for ever; anybody may ask for one.
func TestWhoReadsNothingIsCutOff(t *testing.T) {
	ended := make(chan error, 1)
	server := httptest.NewServer(edge.New(edge.Config{Stall: 100 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		for {
			if _, err := w.Write(piece); err != nil {
				ended <- err
				return
			}
		}
	})))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
	require.NoError(t, err)
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "timeout")
	case <-time.After(20 * time.Second):
		require.Fail(t, "it is written to for ever")
	}
}

// A connection is used again after an answer that took longer than that.
func TestSlowAnswersAreNotCutOff(t *testing.T) {
	const stall = 50 * time.Millisecond
	server := httptest.NewServer(edge.New(edge.Config{Stall: stall}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			_, _ = io.WriteString(w, "late") // stays in the buffer until we return
		}
		select {
		case <-time.After(3 * stall):
		case <-r.Context().Done():
		}
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "late")
		}
	})))
	defer server.Close()
	for _, path := range []string{"/body", "/empty", "/early", "/empty"} {
		answer, err := server.Client().Get(server.URL + path)
		require.NoError(t, err)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.Equal(t, 200, answer.StatusCode)
		require.Equal(t, path != "/empty", string(text) == "late", path)
	}
}
