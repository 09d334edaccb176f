package client

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// Hosts lists hosts by name. next is empty at the end.
func (c *Client) Hosts(ctx context.Context, f HostFilter) (hosts []Host, next string, err error) {
	q := paged(f.Limit, f.Cursor)
	for _, k := range slices.Sorted(maps.Keys(f.Selector)) {
		q.Add("selector", k+"="+f.Selector[k])
	}
	return fetch[Host](ctx, c, "hosts", q)
}

// Host returns one host by its name or id. ErrNotFound: there is none.
func (c *Client) Host(ctx context.Context, name string) (Host, error) {
	return get[Host](ctx, c, "hosts", name)
}

// AddHost makes a host and an enrolment for it, whose line is in the answer alone.
// ErrConflict: the name is taken.
func (c *Client) AddHost(ctx context.Context, spec HostSpec) (NewHost, error) {
	return do[NewHost](ctx, c, http.MethodPost, []string{"hosts"}, spec)
}

// EditHost changes what is set for a host. version is Host.Version as it was read;
// 0: whatever it is. ErrStale: it was edited since.
func (c *Client) EditHost(ctx context.Context, name string, version int64, edit HostEdit) (Host, error) {
	return do[Host](ctx, c, http.MethodPatch, []string{"hosts", name}, edit, ifMatch(version)...)
}

// RemoveHost forgets a host. ErrConflict: it is online or has runners, which force
// does not mind.
func (c *Client) RemoveHost(ctx context.Context, name string, force bool) error {
	path, err := join("hosts", name)
	if err != nil {
		return err
	}
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	return c.call(ctx, http.MethodDelete, path, query, nil, nil)
}

// ReenrolHost makes a new enrolment for a host that exists; nothing else changes
// until it is used.
func (c *Client) ReenrolHost(ctx context.Context, name string, spec ReenrolSpec) (NewHost, error) {
	return do[NewHost](ctx, c, http.MethodPost, []string{"hosts", name, "reenrol"}, spec)
}

// CordonHost keeps new runners from a host, and UncordonHost gives it some again
// and ends a drain.
func (c *Client) CordonHost(ctx context.Context, name string) (Host, error) {
	return do[Host](ctx, c, http.MethodPost, []string{"hosts", name, "cordon"}, nil)
}

// UncordonHost is CordonHost's reverse.
func (c *Client) UncordonHost(ctx context.Context, name string) (Host, error) {
	return do[Host](ctx, c, http.MethodPost, []string{"hosts", name, "uncordon"}, nil)
}

// DrainHost cordons a host and has what runs there come to its end. It returns at
// once: the host is drained when it has no runners.
func (c *Client) DrainHost(ctx context.Context, name string, spec DrainSpec) (Host, error) {
	return do[Host](ctx, c, http.MethodPost, []string{"hosts", name, "drain"}, spec)
}

// RotateHostToken has a host's agent take a new token. ErrConflict: it is offline.
func (c *Client) RotateHostToken(ctx context.Context, name string) (Host, error) {
	return do[Host](ctx, c, http.MethodPost, []string{"hosts", name, "rotate-token"}, nil)
}

// RevokeHost ends a host's credential: its agent is refused until it is enrolled again.
func (c *Client) RevokeHost(ctx context.Context, name string) (Host, error) {
	return do[Host](ctx, c, http.MethodPost, []string{"hosts", name, "revoke"}, nil)
}

// UpdateHost has a host's agent become another version. It returns at once;
// Host.UpdateTo is empty again when that is over.
func (c *Client) UpdateHost(ctx context.Context, name string, spec UpdateSpec) (Host, error) {
	return do[Host](ctx, c, http.MethodPost, []string{"hosts", name, "update"}, spec)
}

// UpdateHosts is UpdateHost for many. It returns the hosts that it is about.
func (c *Client) UpdateHosts(ctx context.Context, spec UpdateHostsSpec) ([]Host, error) {
	p, err := do[page[Host]](ctx, c, http.MethodPost, []string{"hosts", "update"}, spec)
	return p.Items, err
}

// Enrolments lists the enrolments that live, the oldest first and without their
// secrets. limit is how many at most, 0 the hub's default; cursor is next of before.
func (c *Client) Enrolments(ctx context.Context, limit int, cursor string) (list []Enrolment, next string, err error) {
	return fetch[Enrolment](ctx, c, "enrolments", paged(limit, cursor))
}

// CancelEnrolment ends an enrolment that was not used.
func (c *Client) CancelEnrolment(ctx context.Context, id string) error {
	return remove(ctx, c, "enrolments", id)
}
