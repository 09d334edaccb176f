package fleet_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
)

// A host that takes launches and answers none, with heartbeats that go on, gets no
// more of them for as long as that is so, whoever else is full: each would be lost.
func TestASilentHostGetsNothingMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		p := w.readyPeer("a")
		var held wire.Frame
		p.obey(func(f wire.Frame) bool {
			if f.Type == wire.Launch && held.ID == 0 {
				held = f
				return false
			}
			return true
		})
		go func() { _ = w.Launch(t.Context(), spec(newID())) }()
		w.after(29 * time.Second)
		require.Positive(t, w.room(spec("")), "it may be slow")
		w.after(2 * time.Second)
		require.Zero(t, w.room(spec("")))
		require.Equal(t, "silent: a launch has not been answered for long", w.why("small", "a"))
		require.ErrorIs(t, w.Launch(t.Context(), spec(newID())), backend.ErrExhausted)
		p.say(`{"type":"answer","epoch":%d,"id":%d}`, p.epoch, held.ID)
		w.after(time.Second)
		require.Positive(t, w.room(spec("")), "it has answered")
		w.launch()
	})
}

// An answer that decides nothing is a failure like any other: the host is left alone
// for a while, and a word about time that is not over changes nothing.
func TestAHostThatDecidesNothingBacksOff(t *testing.T) {
	for _, code := range []wire.Code{wire.Internal, wire.TimedOut, "new"} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
			p := w.readyPeer("a")
			tries := 0
			p.obey(func(f wire.Frame) bool {
				if f.Type != wire.Launch {
					return true
				}
				tries++
				p.say(`{"type":"answer","epoch":%d,"id":%d,"error":{"code":%q,"message":"no"}}`, p.epoch, f.ID, code)
				return false
			})
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				require.Error(t, w.Launch(ctx, spec(newID())), fmt.Sprint(code))
				cancel()
				w.after(time.Second)
			}
			require.Less(t, tries, 12, "%s", code)
			require.NotEmpty(t, w.host("a").BackingOff)
		})
	}
}
