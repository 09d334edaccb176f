package fleet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

var _ backend.Logger = (*Fleet)(nil)

// mostLogs is how many logs are fetched from one host at once.
const mostLogs = 8

// Logs is backend.Logger's. Of a long log it gives the last 4 MiB.
func (f *Fleet) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	c, s, err := f.beginLogs(ctx, id, tail)
	if err == nil {
		err = s.await(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("logs of %s: %w", id, err)
	}
	return io.NopCloser(bytes.NewReader(c.data)), nil
}

func (f *Fleet) beginLogs(ctx context.Context, id string, tail int) (*call, *session, error) {
	f.mu.Lock()
	defer f.unlock()
	r := f.runners[id]
	switch {
	case r == nil || !r.known():
		return nil, nil, fs.ErrNotExist
	case !r.host.reachable():
		return nil, nil, fmt.Errorf("%w: %s", ErrOffline, r.host.name())
	}
	s, logs := r.host.session, 0
	for _, c := range s.pending {
		if c.kind == wire.Logs {
			logs++
		}
	}
	if logs >= mostLogs {
		return nil, nil, fmt.Errorf("host %s: %w: %d logs are being fetched", r.host.name(), backend.ErrUnavailable, logs)
	}
	c, err := s.begin(limitOf(ctx), wire.Frame{Type: wire.Logs, Runner: id, Tail: max(tail, 0)}, nil)
	return c, s, err
}
