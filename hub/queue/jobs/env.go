package jobs

import (
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/hub/vault"
)

// sealEnv encrypts the environment of a job for its row.
func sealEnv(v *vault.Vault, job string, env map[string]string) ([]byte, error) {
	if len(env) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(env)
	if err != nil {
		return nil, fmt.Errorf("queue: job %s: seal environment: %w", job, err)
	}
	return v.Seal(vault.JobEnv.Place(job), text), nil
}

// OpenEnv is the environment of a job, of which sealed is stored.
func OpenEnv(v *vault.Vault, job string, sealed []byte) (env map[string]string, err error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	text, err := v.Open(vault.JobEnv.Place(job), sealed)
	if err == nil {
		err = json.Unmarshal(text, &env)
	}
	if err != nil {
		return nil, fmt.Errorf("queue: job %s: open environment: %w", job, err)
	}
	return env, nil
}
