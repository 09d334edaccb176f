package hubload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// seen is what the hub tells of itself.
type seen struct {
	// ready is how many hosts are connected and have told their full list.
	ready int
	// held is how many runners the fleet knows, running how many of them the loop
	// sees running.
	held, running int
}

// lookTimeout bounds one look: a hub that begins may be slow to answer.
const lookTimeout = 10 * time.Second

// look reads GET /metrics.
func (l *Load) look(ctx context.Context) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.hub.url+"/metrics", nil)
	if err != nil {
		return seen{}, err
	}
	request.Header.Set("Authorization", "Bearer "+l.admin)
	answer, err := l.http.Do(request)
	if err != nil {
		return seen{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return seen{}, fmt.Errorf("GET /metrics: %s", answer.Status)
	}
	return readMetrics(answer.Body)
}

// readMetrics reads Prometheus's text format, as far as it is the hub's:
// https://prometheus.io/docs/instrumenting/exposition_formats/.
func readMetrics(from io.Reader) (s seen, err error) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		series, text, ok := strings.Cut(lines.Text(), "} ")
		if !ok {
			continue
		}
		name, labels, _ := strings.Cut(series, "{")
		var to *int
		switch {
		case name == "slipway_hosts" && strings.Contains(labels, `state="ready"`):
			to = &s.ready
		case name == "slipway_host_runners":
			to = &s.held
		case name == "slipway_runners" && strings.Contains(labels, `state="running"`):
			to = &s.running
		default:
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return s, fmt.Errorf("GET /metrics: %q: %w", lines.Text(), err)
		}
		*to += int(n)
	}
	return s, lines.Err()
}
