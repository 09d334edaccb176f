package docker

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// Logs implements backend.Logger.
func (b *Backend) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	r, err := b.logs(ctx, id, tail)
	if err != nil {
		return nil, fmt.Errorf("logs of runner %s: %w", id, err)
	}
	return r, nil
}

func (b *Backend) logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	if !canonical(id) {
		return nil, fs.ErrNotExist
	}
	c, err := b.find(ctx, id)
	switch {
	case gone(err):
		return nil, fs.ErrNotExist
	case err != nil:
		return nil, fault.Of(ctx, err)
	}
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true}
	if tail > 0 {
		options.Tail = strconv.Itoa(tail)
	}
	stream, err := b.client.ContainerLogs(ctx, c.ID, options)
	if err != nil {
		return nil, fault.Of(ctx, err)
	}
	if c.Config.Tty {
		return stream, nil
	}
	return demultiplex(stream), nil
}

// demultiplex takes the engine's frames off, which say whether bytes were
// written to stdout or to stderr.
func demultiplex(stream io.ReadCloser) io.ReadCloser {
	r, w := io.Pipe()
	d := &demultiplexer{PipeReader: r, stream: stream, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		_, err := stdcopy.StdCopy(w, w, stream)
		w.CloseWithError(err)
	}()
	return d
}

type demultiplexer struct {
	*io.PipeReader
	stream io.Closer
	done   chan struct{}
}

// Close ends the stream, and waits for its reader.
func (d *demultiplexer) Close() error {
	_ = d.PipeReader.Close()
	err := d.stream.Close()
	<-d.done
	return err
}
