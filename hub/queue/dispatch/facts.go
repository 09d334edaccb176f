package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// RunnerFact is what the queue knows of a runner, all of which is certain.
type RunnerFact struct {
	// ProviderID is the runner's id in the provisioner's hands.
	ProviderID string
	// Registered: it introduced itself.
	Registered bool
	// Job is the one that it has or had last; empty: it never had one.
	Job string
	// Unwanted is why it should end; empty: it should not.
	Unwanted string
}

// factsAtOnce is how many runners one query asks about: a fleet has thousands, and
// a query for each of them costs more than all else that a loop does.
const factsAtOnce = 1000

// Facts tells what is known of runners. Those that the queue never heard of are left
// out.
func (d *Dispatcher) Facts(ctx context.Context, p ledger.Provisioner, providerIDs []string) ([]RunnerFact, error) {
	facts := make([]RunnerFact, 0, len(providerIDs))
	err := d.ledger.Read(ctx, func(t *ledger.Tx) error {
		for part := range slices.Chunk(providerIDs, factsAtOnce) {
			told, err := factsOf(t, p, part)
			if err != nil {
				return err
			}
			facts = append(facts, told...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue: facts of runners: %w", err)
	}
	return facts, nil
}

func factsOf(t *ledger.Tx, p ledger.Provisioner, providerIDs []string) ([]RunnerFact, error) {
	list, err := json.Marshal(providerIDs)
	if err != nil {
		return nil, err
	}
	// One whose lease was lost has nothing to do any more: it is here again after a cut.
	return store.All(t.Tx, func(r store.Row) (f RunnerFact, err error) {
		return f, r.Scan(&f.ProviderID, &f.Registered, &f.Unwanted, &f.Job)
	}, `SELECT r.provider_runner_id, r.enrolled_at IS NOT NULL OR r.session_id IS NOT NULL,
		CASE WHEN r.intent = '' AND EXISTS (SELECT 1 FROM leases l WHERE l.runner_id = r.id AND l.ended_by = 'lost') THEN 'lease-lost' ELSE r.intent END,
		coalesce((SELECT l.job_id FROM leases l WHERE l.runner_id = r.id ORDER BY l.id DESC LIMIT 1), '')
		FROM json_each(?) asked CROSS JOIN runners r ON r.provisioner_id = ? AND r.provider_runner_id = asked.value`, string(list), p.ID)
}

// Launchable says whether a runner was minted for p, has not ended and is wanted.
func (d *Dispatcher) Launchable(ctx context.Context, p ledger.Provisioner, providerID string) (yes bool, err error) {
	err = d.ledger.Read(ctx, func(t *ledger.Tx) error {
		r, found, err := t.RunnerOf(p, providerID)
		yes = found && !r.Ended() && !r.Retired && r.Intent == ""
		return err
	})
	if err != nil {
		return false, fmt.Errorf("queue: look up runner %s: %w", providerID, err)
	}
	return yes, nil
}
