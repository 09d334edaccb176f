package hosts

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

const (
	defaultLimit = 100
	mostLimit    = 1000
)

// Filter says which hosts to list. Zero fields don't filter.
type Filter struct {
	// Selector: hosts that have all of these labels.
	Selector map[string]string
	// Cursor is what the last list returned; empty: from the first on.
	Cursor string
	// Limit is how many at most; default 100, at most 1000.
	Limit int
}

func limitOf(limit int) int {
	if limit <= 0 {
		return defaultLimit
	}
	return min(limit, mostLimit)
}

// Hosts lists hosts in the order of their names. next is the cursor for what
// follows, empty at the end.
func (r *Registry) Hosts(ctx context.Context, filter Filter) (hosts []Host, next string, err error) {
	if err := form.Labels("selector", filter.Selector); err != nil {
		return nil, "", err
	}
	limit := limitOf(filter.Limit)
	where, args := `h.name > ?`, []any{filter.Cursor}
	for _, key := range slices.Sorted(maps.Keys(filter.Selector)) {
		where += ` AND EXISTS (SELECT 1 FROM json_each(h.labels) l WHERE l.key = ? AND l.value = ?)`
		args = append(args, key, filter.Selector[key])
	}
	err = r.read(ctx, func(t *tx) error {
		hosts, err = store.All(t.Tx, scanHost, hostQuery+where+` ORDER BY h.name LIMIT ?`, append(args, limit+1)...)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("hosts: list hosts: %w", err)
	}
	if len(hosts) > limit {
		hosts = hosts[:limit]
		next = hosts[limit-1].Name
	}
	r.freshen(hosts)
	return hosts, next, nil
}

// Host finds a host by its name or its id. ErrNotFound: there is none, or it was
// removed.
func (r *Registry) Host(ctx context.Context, nameOrID string) (Host, error) {
	var h Host
	err := r.read(ctx, func(t *tx) (err error) {
		h, err = t.find(nameOrID)
		return err
	})
	if err != nil {
		return Host{}, failed("find host", nameOrID, err)
	}
	one := []Host{h}
	r.freshen(one)
	return one[0], nil
}

// Resolve gives the id of a host. ErrNotFound: there is none.
func (r *Registry) Resolve(ctx context.Context, nameOrID string) (id string, err error) {
	h, err := r.Host(ctx, nameOrID)
	return h.ID, err
}

// Name gives the name of the host with an id. ErrNotFound: there is none.
func (r *Registry) Name(ctx context.Context, id string) (string, error) {
	h, err := r.Host(ctx, id)
	return h.Name, err
}

// failed names the deed and the host.
func failed(deed, host string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %.70q: %w", deed, host, err)
}

// redacted is an error's text as it may be logged and shown.
func redacted(err error) string { return tokens.Redact(err.Error()) }
