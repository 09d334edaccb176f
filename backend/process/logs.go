package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Logs tells what the runner has printed so far, see backend.Logger. Of much
// output the middle is missing, and a line in its place says how much.
func (b *Backend) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	text, err := b.logs(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read log of runner %s: %w", id, err)
	}
	return io.NopCloser(bytes.NewReader(lastLines(text, tail))), nil
}

func (b *Backend) logs(ctx context.Context, id string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !validID(id) {
		return nil, fs.ErrNotExist
	}
	if _, err := b.folder.read(id); errors.Is(err, errForeign) {
		return nil, fs.ErrNotExist
	} else if err != nil {
		return nil, err
	}
	return readOutput(b.folder.runner(id))
}
