package jobs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// MaxKeyLength bounds Spec.Key, in bytes.
const MaxKeyLength = 200

// submitted finds the job that was submitted with the spec's key, or stores that
// it is id's from here on. Keys go when their jobs do.
func (j *Jobs) submitted(t *ledger.Tx, spec Spec, id string) (job ledger.Job, again bool, err error) {
	if spec.Key == "" {
		return ledger.Job{}, false, nil
	}
	if len(spec.Key) > MaxKeyLength {
		return ledger.Job{}, false, ledger.Invalid("key", "is %d characters: at most %d are allowed", len(spec.Key), MaxKeyLength)
	}
	digest, err := j.specDigest(spec)
	if err != nil {
		return ledger.Job{}, false, err
	}
	type row struct{ digest, job string }
	stored, found, err := store.One(t.Tx, func(r store.Row) (v row, err error) { return v, r.Scan(&v.digest, &v.job) },
		`SELECT digest, job_id FROM submit_keys WHERE key = ?`, spec.Key)
	switch {
	case err != nil:
		return ledger.Job{}, false, err
	case found && stored.digest != digest:
		return ledger.Job{}, false, ErrKeyReused
	case found:
		job, err := t.Job(stored.job)
		return job, true, err
	}
	_, err = t.Exec(`INSERT INTO submit_keys (key, digest, job_id) VALUES (?, ?, ?)`, spec.Key, digest, id)
	return ledger.Job{}, false, err
}

// specDigest is keyed: a spec holds secrets that could be guessed.
func (j *Jobs) specDigest(spec Spec) (string, error) {
	text, err := json.Marshal(spec) // maps go in the order of their keys
	if err != nil {
		return "", fmt.Errorf("queue: digest of job: %w", err)
	}
	mac := hmac.New(sha256.New, j.cfg.Vault.Derive("submit keys"))
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)), nil
}
