package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Runners lists the runners of the fleet, the newest first. next is empty at the end.
func (c *Client) Runners(ctx context.Context, f RunnerFilter) (runners []Runner, next string, err error) {
	q := paged(f.Limit, f.Cursor)
	set(q, "host", f.Host)
	set(q, "scale_set", f.ScaleSet)
	set(q, "state", f.State)
	return fetch[Runner](ctx, c, "runners", q)
}

// Runner returns one runner. ErrNotFound: there is none.
func (c *Client) Runner(ctx context.Context, id string) (Runner, error) {
	return get[Runner](ctx, c, "runners", id)
}

// RunnerLogs writes the last tail lines (0: all that the hub gives) of what a runner
// printed to w. ErrConflict: its host can't be asked now.
func (c *Client) RunnerLogs(ctx context.Context, id string, tail int, w io.Writer) error {
	path, err := join("runners", id, "logs")
	if err != nil {
		return err
	}
	query := url.Values{}
	if tail != 0 {
		query.Set("tail", strconv.Itoa(tail))
	}
	res, err := c.send(ctx, http.MethodGet, path, query, nil, "Accept", "text/plain")
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	out := &output{w: w}
	if _, err = io.Copy(out, res.Body); err != nil && out.err == nil {
		return unreachable(ctx, fmt.Errorf("read the runner's log: %w", err))
	}
	return out.err
}

// output tells the errors of its writer from those of what is read.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (n int, err error) {
	n, o.err = o.w.Write(p)
	return n, o.err
}

// StopRunner has a runner end, with its job. It returns at once.
func (c *Client) StopRunner(ctx context.Context, id string) (Runner, error) {
	return do[Runner](ctx, c, http.MethodPost, []string{"runners", id, "stop"}, nil)
}
