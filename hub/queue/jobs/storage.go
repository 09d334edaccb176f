package jobs

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// Bytes is how much room the database uses, without what is free in its file.
func (j *Jobs) Bytes(ctx context.Context) (n int64, err error) {
	err = j.ledger.Read(ctx, func(t *ledger.Tx) error {
		n, _, err = store.One(t.Tx, store.Value[int64],
			`SELECT (c.page_count - f.freelist_count) * s.page_size FROM pragma_page_count c, pragma_freelist_count f, pragma_page_size s`)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("queue: measure database: %w", err)
	}
	return n, nil
}
