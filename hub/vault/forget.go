package vault

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/store"
)

// Forget gives up a key that is lost for good, so that the store opens without it.
// What is sealed with it stays unreadable: environments of jobs that have not ended,
// passwords of registries until they are set again. The hub's own secrets are made
// anew: sessions of runners end. The hub must not run. ErrKey: no such key is needed.
func Forget(ctx context.Context, s *store.Store, id string) error {
	err := s.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM vault_keys WHERE id = ?`, id)
		switch {
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("%w %s is not needed", ErrKey, id)
		}
		_, err = tx.Exec(fmt.Sprintf(`DELETE FROM vault_secrets WHERE lower(hex(substr(value, 2, %d))) = ?`, idSize), id)
		return err
	})
	if err != nil {
		return fmt.Errorf("vault: forget key: %w", err)
	}
	return nil
}
