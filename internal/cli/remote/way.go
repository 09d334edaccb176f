package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// away is how many calls in a row must fail until people are told: one that fails
// for good is the error of its command.
const away = 2

// way is the way to the hub. It tells people that the hub went away, where a
// command goes on trying, and that it is back; and it keeps for how long the hub
// wants to be left alone.
type way struct {
	next    http.RoundTripper
	notices io.Writer
	address string

	mu         sync.Mutex
	failed     int // in a row
	retryAfter time.Duration
}

// RoundTrip does one request.
func (w *way) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := w.next.RoundTrip(req)
	switch {
	case err != nil && req.Context().Err() == context.Canceled: // nobody waits for it any more
	case err != nil || proxied(res):
		w.lost()
	default:
		w.answered(res)
	}
	return res, err
}

// proxied says that a proxy answered, since it can't reach the hub.
func proxied(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return !strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json")
	}
	return false
}

func (w *way) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed++; w.failed == away {
		_, _ = fmt.Fprintf(w.notices, "no hub answers at %s: trying on\n", w.address)
	}
}

func (w *way) answered(res *http.Response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed >= away {
		_, _ = fmt.Fprintf(w.notices, "the hub at %s answers again\n", w.address)
	}
	w.failed, w.retryAfter = 0, 0
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		w.retryAfter = time.Duration(s) * time.Second
	}
}

// again is ": try again in 41s", where the hub's last answer said so.
func (w *way) again() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.retryAfter == 0 {
		return ""
	}
	return fmt.Sprintf(": try again in %s", w.retryAfter)
}

// shared is a writer that many goroutines write lines to.
type shared struct {
	mu sync.Mutex
	io.Writer
}

// Write writes one line.
func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Writer.Write(p)
}
