package queue

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/store"
)

// Unwant asks for the end of runners, as an operator does: they get no job any
// more, and the intent stays until they have ended. A job that runs there is over
// with its runner, cancelled for that reason, which is a word. The runners are
// named by their ids in their provisioner's hands; unknown ones, those that have
// ended and those that are unwanted already are passed over.
func (q *Queue) Unwant(ctx context.Context, runners []string, reason string) error {
	err := q.write(ctx, func(t *tx) error {
		for _, id := range runners {
			found, err := store.All(t.Tx, scanRunner,
				runnerQuery+`r.provisioner_id IN (SELECT id FROM provisioners) AND r.provider_runner_id = ? AND r.ended_at IS NULL`, id)
			if err != nil {
				return err
			}
			for _, r := range found {
				if err := t.unwant(r, reason); err != nil {
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

// ending is why an operator wants a runner to end; empty: none does.
func (r runner) ending() string {
	if r.intent == intentCancelled || r.intent == intentActivation {
		return ""
	}
	return r.intent
}

// reasonOf is why a job ended whose runner told it: a runner that was asked to end
// does not know why.
func (t *tx) reasonOf(job Job, result Result) (string, error) {
	if result.Outcome != OutcomeCancelled || !job.CancelRequestedAt.IsZero() || job.Runner == "" {
		return result.Reason, nil
	}
	r, found, err := t.runner(job.Runner)
	if err != nil || !found || r.ending() == "" {
		return result.Reason, err
	}
	return r.ending(), nil
}
