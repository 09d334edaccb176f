package shipfox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/internal/standalone/foxtest"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/tokens"
)

// The client keeps the promises of every control plane against the real queue,
// in each generation of the API.
func TestPromisesAgainstTheHub(t *testing.T) {
	for _, generation := range []string{"head", "ert", "pr"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			controlplanetest.Run(t, func(t *testing.T) controlplanetest.Harness {
				return &hubHarness{World: foxtest.New(t, generation)}
			})
		})
	}
}

type hubHarness struct{ *foxtest.World }

var (
	_ controlplanetest.Impostor  = (*hubHarness)(nil)
	_ controlplanetest.Starter   = (*hubHarness)(nil)
	_ controlplanetest.Canceller = (*hubHarness)(nil)
	_ controlplanetest.Ager      = (*hubHarness)(nil)
)

func (h *hubHarness) open(t *testing.T, token tokens.Token) *shipfox.ControlPlane {
	c, err := shipfox.New(shipfox.Config{URL: h.Hub.URL(), Token: token})
	require.NoError(t, err)
	return c
}

func (h *hubHarness) Open(t *testing.T) provisioner.ControlPlane { return h.open(t, h.Token) }

func (h *hubHarness) OpenRefused(t *testing.T) provisioner.ControlPlane {
	return h.open(t, tokens.New(tokens.Provisioner))
}

func (h *hubHarness) Enqueue(t *testing.T, labels []string, n int) {
	h.Submit(t, n, "true", labels...)
}

// A lost grant lives as long as it was asked to, or the API's own minute.
func (h *hubHarness) Traits() controlplanetest.Traits {
	return controlplanetest.Traits{LostGrant: time.Minute}
}

func (h *hubHarness) Start(t *testing.T, registration provisioner.Registration) controlplanetest.Runner {
	r, err := foxtest.Introduce(t.Context(), registration.Env)
	require.NoError(t, err)
	return hubRunner{r}
}

func (h *hubHarness) Age(t *testing.T, d time.Duration) {
	require.NoError(t, h.Hub.Queue().Store().Write(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE reservations SET expires_at = expires_at - ?`, d.Milliseconds()); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE jobs SET reserved_until = reserved_until - ?`, d.Milliseconds())
		return err
	}))
}

type hubRunner struct{ *foxtest.Runner }

func (r hubRunner) Take(t *testing.T) bool {
	lease, err := r.Runner.Take(t.Context())
	require.NoError(t, err)
	return lease != nil
}

func (h *hubHarness) Cancel(t *testing.T, runner string) {
	facts, err := h.open(t, h.Token).Facts(t.Context(), []provisioner.Ref{{ID: runner}})
	require.NoError(t, err)
	require.NotEmpty(t, facts[0].Job)
	_, err = h.Hub.Queue().Cancel(t.Context(), facts[0].Job)
	require.NoError(t, err)
}
