package docker_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// An engine that hears of the end before it hears of the reason does not have
// the reason in the container's state; its events have it.
func TestOutOfMemoryByEvents(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	engine := enginetest.Engine(t)
	b := open(t, over(proxy))
	proxy.Answer(func(w http.ResponseWriter, r *http.Request) enginetest.Fault {
		_, of, found := strings.Cut(r.URL.Path, "/containers/")
		id, isInspect := strings.CutSuffix(of, "/json")
		if !found || !isInspect {
			return enginetest.Pass
		}
		c, err := engine.ContainerInspect(r.Context(), id)
		if err != nil {
			return enginetest.Refuse(w, http.StatusNotFound, "No such container")
		}
		c.State.OOMKilled = false
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c)
		return enginetest.Done
	})
	starves := shell(t, "sleep 0.5; exec dd if=/dev/zero of=/dev/null bs=64M count=1")
	starves.Memory = 16 << 20
	isKilled := sleeper(t)
	isKilled.Memory = 16 << 20
	require.NoError(t, b.Launch(t.Context(), isKilled))
	require.NoError(t, b.Launch(t.Context(), starves))
	require.NoError(t, engine.ContainerKill(t.Context(), "slipway-"+isKilled.ID, "KILL"))
	require.True(t, await(t, b, starves.ID, backend.State.Ended).OOMKilled)
	r := await(t, b, isKilled.ID, backend.State.Ended)
	require.Equal(t, 137, *r.ExitCode)
	require.False(t, r.OOMKilled, "killed from outside")
}
