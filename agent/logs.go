package agent

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// logs sends the log in chunks.
func (a *Agent) logs(ctx context.Context, s *session, f wire.Frame) (answer func()) {
	text, err := a.readLog(ctx, f.Runner, f.Tail)
	for len(text) > 0 && err == nil {
		n := min(len(text), wire.MaxChunk)
		err = s.link.Post(ctx, wire.Frame{Type: wire.Chunk, Epoch: s.epoch, ID: f.ID, Data: text[:n]})
		text = text[n:]
	}
	// The answer goes the way of the chunks, so that it comes after them.
	return func() {
		_ = s.link.Post(context.WithoutCancel(ctx), wire.Frame{Type: wire.Answer, Epoch: s.epoch, ID: f.ID, Error: wire.FromError(err)})
	}
}

// readLog reads a log, and keeps of a long one the end.
func (a *Agent) readLog(ctx context.Context, id string, tail int) ([]byte, error) {
	log, err := backend.Logs(ctx, a.config.Backend, id, tail)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	stop := context.AfterFunc(ctx, func() { log.Close() })
	defer stop()
	var kept []byte
	piece := make([]byte, 32<<10)
	for {
		n, err := log.Read(piece)
		kept = append(kept, piece[:n]...)
		if len(kept) > 2*wire.MaxLog {
			kept = append(kept[:0], end(kept)...)
		}
		if errors.Is(err, io.EOF) {
			return end(kept), nil
		}
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// end is the last MaxLog bytes of a log, from the beginning of a line.
func end(text []byte) []byte {
	if len(text) <= wire.MaxLog {
		return text
	}
	text = text[len(text)-wire.MaxLog:]
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return text
}
