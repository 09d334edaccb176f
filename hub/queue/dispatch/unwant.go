package dispatch

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// Unwant asks for the end of runners, as an operator does: they get no job any
// more, and the intent stays until they have ended. A job that runs there is over
// with its runner, cancelled for that reason, which is a word. The runners are
// named by their ids in their provisioner's hands; unknown ones, those that have
// ended and those that are unwanted already are passed over.
func (d *Dispatcher) Unwant(ctx context.Context, runners []string, reason string) error {
	err := d.ledger.Write(ctx, func(t *ledger.Tx) error {
		for _, id := range runners {
			found, err := t.RunnersWhere(`r.provisioner_id IN (SELECT id FROM provisioners) AND r.provider_runner_id = ? AND r.ended_at IS NULL`, id)
			if err != nil {
				return err
			}
			for _, r := range found {
				if err := t.Unwant(r, reason); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("queue: end runners: %w", err)
	}
	return nil
}
