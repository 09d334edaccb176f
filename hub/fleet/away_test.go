package fleet_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// Why: whoever looks at a machine that gets no work has its agent's log alone. That
// must not send them after a rotation where somebody has revoked the token.
func TestAnAgentSaysWhyItsTokenIsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		n := w.nodes["a"]
		var held atomic.Pointer[tokens.Token]
		hold := func(token tokens.Token) { held.Store(&token) }
		hold(n.token)
		n.config.Token = func() tokens.Token { return *held.Load() }
		w.startAll()
		says := func(text string) { t.Helper(); require.Contains(t, w.log.String(), text) }

		n.token = tokens.New(tokens.Agent)
		began := time.Now()
		w.SendAway("a", fleet.ErrRevoked)
		require.Equal(t, began, time.Now(), "nobody waits")
		w.after(5 * time.Second)
		says(`the hub ended the session: fleet: the host's token was revoked: its machine is let in when it is enrolled anew (slipway hosts reenrol)`)
		says("status 401: the hub let it in before, and it was revoked since, or rotated by another agent that has a copy")
		require.NotContains(t, w.log.String(), "was rotated")
		require.False(t, w.host("a").Online)

		hold(n.token)
		w.after(5 * time.Second)
		require.True(t, w.host("a").Ready)
		hold(tokens.New(tokens.Agent))
		w.SendAway("a", wire.ErrSuperseded)
		w.after(5 * time.Second)
		says("status 401: it was revoked, or rotated by another agent that has a copy of this one's data, or it is another hub's: enrol this machine anew")
		hold(n.token)
		w.after(5 * time.Second)

		n.token = tokens.New(tokens.Agent)
		hold(n.token)
		began, before := time.Now(), w.host("a").Epoch
		w.SendAway("a", fleet.ErrReplaced)
		for w.host("a").Epoch == before {
			w.after(time.Millisecond)
		}
		require.Less(t, time.Since(began), 50*time.Millisecond, "it may have the new one: it comes at once")
		says("the host was enrolled anew, and its former token is over")

		w.SendAway("unknown", fleet.ErrRevoked)
		n.stop()
		w.SendAway("a", fleet.ErrRevoked)
	})
}

// After a restart of the hub an ended runner on a host that is away is told as it
// ended, takes up no room and is no news when the host is lost; of others it is known
// since when they are there.
func TestAnEndOutlivesTheHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		config := fleet.Config{Store: fleet.NewMemoryStore(), LostAfter: 10 * time.Minute}
		w := newWorld(t, config, memory.Config{}, "a")
		w.startAll()
		runs, fails := w.launch(), w.launch()
		w.after(time.Second)
		require.True(t, w.nodes["a"].engine.Exit(fails, 3))
		w.after(2 * time.Second)
		ran, failed := w.shown(runs), w.shown(fails)
		require.Equal(t, backend.Failed, failed.State)
		w.nodes["a"].stop()
		w.after(time.Second)
		require.Equal(t, failed, w.shown(fails), "what has ended stays so")

		require.NoError(t, config.Store.Save(t.Context(), []fleet.Record{{Runner: "of-old", Host: "a"}}, nil))
		w.restart(config)
		require.Equal(t, failed, w.shown(fails))
		require.Equal(t, ran.Created, w.shown(runs).Created)
		require.Zero(t, w.shown("of-old").Created, "nobody knows")
		require.Equal(t, 2, w.host("a").Held, "those that may live")
		w.after(11 * time.Minute)
		require.True(t, w.host("a").Lost)
		require.Equal(t, failed, w.shown(fails))
		require.Equal(t, fleet.HostLost, w.shown(runs).Error)
		require.Equal(t, ran.Created, w.shown(runs).Created)

		w.nodes["a"].start()
		w.after(3 * time.Second)
		require.Equal(t, failed, w.shown(fails))
		require.Equal(t, backend.Running, w.shown(runs).State)
		require.Empty(t, w.shown("of-old"))
		w.after(time.Minute)
		require.NoError(t, w.Remove(t.Context(), fails))
	})
}
