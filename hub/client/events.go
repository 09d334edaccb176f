package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// Events lists events, the oldest first; EventFilter.After says which. next is where
// to go on, 0 where there is nothing more now.
func (c *Client) Events(ctx context.Context, f EventFilter) (events []Event, next int64, err error) {
	q := f.query()
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.After > 0 {
		q.Set("after", strconv.FormatInt(f.After, 10))
	}
	events, more, err := fetch[Event](ctx, c, "events", q)
	next, _ = strconv.ParseInt(more, 10, 64) // an empty one is the end
	return events, next, err
}

func (f EventFilter) query() url.Values {
	q := url.Values{}
	for _, kind := range f.Kinds {
		q.Add("kind", kind)
	}
	set(q, "object", f.Object)
	return q
}

// Audit lists who changed what, the newest first. next is empty at the end.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (entries []AuditEntry, next string, err error) {
	q := paged(f.Limit, f.Cursor)
	set(q, "object", f.Object)
	set(q, "action", f.Action)
	set(q, "token", f.TokenID)
	set(q, "outcome", f.Outcome)
	for name, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	return fetch[AuditEntry](ctx, c, "audit", q)
}
