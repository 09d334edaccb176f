package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// Submit accepts a job: when it returns nil the job is on disk. Errors:
// InvalidError, ErrStorageFull, ErrKeyReused.
func (j *Jobs) Submit(ctx context.Context, spec Spec) (ledger.Job, error) {
	spec, err := spec.normal(j.cfg.Timeout)
	if err != nil {
		return ledger.Job{}, err
	}
	if j.ledger.StorageFull() {
		return ledger.Job{}, ErrStorageFull
	}
	id := ledger.NewID()
	env, err := sealEnv(j.cfg.Vault, id, spec.Env)
	if err != nil {
		return ledger.Job{}, err
	}
	command, err := json.Marshal(spec.Command)
	if err != nil {
		return ledger.Job{}, fmt.Errorf("queue: submit job: %w", err)
	}
	names, err := json.Marshal(slices.Sorted(maps.Keys(spec.Env)))
	if err != nil {
		return ledger.Job{}, fmt.Errorf("queue: submit job: %w", err)
	}
	var job ledger.Job
	err = j.ledger.Write(ctx, func(t *ledger.Tx) error {
		var again bool
		if job, again, err = j.submitted(t, spec, id); err != nil || again {
			return err
		}
		now := ledger.Millis(t.Now)
		_, err := t.Exec(`INSERT INTO jobs (id, name, label_set, run, command, env, env_names, timeout, retries, state, created_at, queued_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?)`,
			id, spec.Name, ledger.JoinLabels(spec.Labels), spec.Run, string(command), env, string(names),
			spec.Timeout.Milliseconds(), spec.Retries, now, now)
		if err != nil {
			return err
		}
		if err := t.AddEvent(id, ledger.StateQueued, 0, "", ""); err != nil {
			return err
		}
		if err := t.AdoptIdle(); err != nil {
			return err
		}
		t.Wake(ledger.TopicDemand)
		job, err = t.Job(id)
		return err
	})
	if err != nil {
		return ledger.Job{}, fmt.Errorf("queue: submit job: %w", err)
	}
	return job, nil
}
