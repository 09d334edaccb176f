package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// typeYAML is the type of scale sets in a file.
const typeYAML = "application/yaml"

// maxExport bounds what Export reads.
const maxExport = 64 << 20

// ScaleSets lists scale sets by name. next is empty at the end.
func (c *Client) ScaleSets(ctx context.Context, f ScaleSetFilter) (sets []ScaleSet, next string, err error) {
	return fetch[ScaleSet](ctx, c, "scale-sets", paged(f.Limit, f.Cursor))
}

// ScaleSet returns one scale set. ErrNotFound: there is none.
func (c *Client) ScaleSet(ctx context.Context, name string) (ScaleSet, error) {
	return get[ScaleSet](ctx, c, "scale-sets", name)
}

// CreateScaleSet makes a scale set. ErrConflict: the name is taken.
func (c *Client) CreateScaleSet(ctx context.Context, set NamedScaleSet) (ScaleSet, error) {
	return do[ScaleSet](ctx, c, http.MethodPost, []string{"scale-sets"}, set)
}

// PutScaleSet replaces a scale set. version is ScaleSet.Version as it was read; 0:
// whatever it is. ErrStale: it was edited since.
func (c *Client) PutScaleSet(ctx context.Context, name string, version int64, spec ScaleSetSpec) (ScaleSet, error) {
	return do[ScaleSet](ctx, c, http.MethodPut, []string{"scale-sets", name}, spec, ifMatch(version)...)
}

// DeleteScaleSet deletes a scale set; its runners go on and are not replaced.
// version is as in PutScaleSet.
func (c *Client) DeleteScaleSet(ctx context.Context, name string, version int64) error {
	path, err := join("scale-sets", name)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil, nil, ifMatch(version)...)
}

// ApplyOptions say how to apply a file.
type ApplyOptions struct {
	// DryRun changes nothing.
	DryRun bool
	// Prune deletes the scale sets that the file does not name.
	Prune bool
	// Revision is that of a Diff that somebody agreed to: ErrStale if anything was
	// edited since. It goes into If-Match. 0: any.
	Revision int64
}

// Apply makes the hub's scale sets those of a YAML file, and returns what that
// changed. All of it happens, or nothing.
func (c *Client) Apply(ctx context.Context, file []byte, o ApplyOptions) (diff Diff, err error) {
	query := url.Values{}
	if o.DryRun {
		query.Set("dry_run", "true")
	}
	if o.Prune {
		query.Set("prune", "true")
	}
	return diff, c.call(ctx, http.MethodPost, "scale-sets/apply", query, document{typeYAML, file}, &diff, ifMatch(o.Revision)...)
}

// Export returns all scale sets in the form that Apply takes.
func (c *Client) Export(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := c.send(ctx, http.MethodGet, "scale-sets/export", nil, nil, "Accept", typeYAML)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxExport+1))
	if err == nil && len(text) > maxExport {
		err = fmt.Errorf("it is longer than %d bytes", maxExport)
	}
	if err != nil {
		return nil, unreachable(ctx, fmt.Errorf("read export: %w", err))
	}
	return text, nil
}

// Placement tells of each host why the next runner of a scale set can go there, or not.
func (c *Client) Placement(ctx context.Context, name string) ([]Verdict, error) {
	p, err := get[page[Verdict]](ctx, c, "scale-sets", name, "placement")
	return p.Items, err
}

// document is a body that is not JSON.
type document struct {
	kind string
	text []byte
}

// encode is a request's body and its type. What is not UTF-8 is refused.
func encode(in any) (body io.Reader, kind string, err error) {
	if err := checkText(in); err != nil {
		return nil, "", err
	}
	if d, ok := in.(document); ok {
		return bytes.NewReader(d.text), d.kind, nil
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, "", fmt.Errorf("client: write request: %w", err)
	}
	return bytes.NewReader(text), "application/json", nil
}
