package hosts

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

func TestRotationKeepsTheOldTokenUntilTheNewIsUsed(t *testing.T) {
	w := newWorld(t)
	h, old := w.enrolled("a")
	next := tokens.New(tokens.Agent)
	w.fleet.rotate = func(host string) (tokens.Digest, error) {
		require.Equal(t, h.ID, host)
		_, err := w.whose(next)
		require.ErrorIs(t, err, fleet.ErrRefused)
		return next.Digest(), nil
	}
	require.NoError(t, w.RotateToken(t.Context(), "a"))
	require.Equal(t, []string{h.ID}, w.fleet.again, "its agent is asked to come back with the new one")
	for range 2 {
		host, err := w.whose(old)
		require.NoError(t, err, "the agent may not have kept the new one")
		require.Equal(t, h.ID, host)
	}
	var wg sync.WaitGroup
	for range 20 { // the first of them ends the old one
		wg.Go(func() {
			host, err := w.whose(next)
			require.NoError(t, err)
			require.Equal(t, h.ID, host)
		})
	}
	wg.Wait()
	_, err := w.whose(old)
	require.ErrorIs(t, err, fleet.ErrRefused)
	require.Equal(t, "host-token-rotated host/a", w.told()[len(w.told())-1])
	require.Len(t, w.told(), 3, "it is told once")
}

func TestRotateTokenRefuses(t *testing.T) {
	w := newWorld(t)
	w.enrolled("a")
	require.ErrorIs(t, w.RotateToken(t.Context(), "a"), fleet.ErrOffline)
	require.ErrorIs(t, w.RotateToken(t.Context(), "nobody"), ErrNotFound)
	b, other := w.enrolled("b")
	w.fleet.rotate = func(string) (tokens.Digest, error) { return other.Digest(), nil }
	require.ErrorIs(t, w.RotateToken(t.Context(), "a"), ErrCredentialTaken, "an agent must not take another's over")
	host, err := w.whose(other)
	require.NoError(t, err)
	require.Equal(t, b.ID, host)
	require.ErrorIs(t, w.Rotated(t.Context(), b.ID, tokens.Digest{}), queue.ErrInvalid)
}

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	h, token := w.enrolled("a")
	next := tokens.New(tokens.Agent)
	require.NoError(t, w.Rotated(t.Context(), h.ID, next.Digest()))
	_, i, err := w.Reenrol(t.Context(), "a", ReenrolSpec{})
	require.NoError(t, err)
	_, stays := w.enrolled("b")
	require.NoError(t, w.Revoke(t.Context(), "a"))
	for _, token := range []tokens.Token{token, next} {
		_, err := w.whose(token)
		require.ErrorIs(t, err, fleet.ErrRefused)
	}
	_, err = w.Invited(t.Context(), i.Token)
	require.ErrorIs(t, err, ErrUnknownEnrolment, "who could steal the token could steal the line")
	require.Equal(t, []string{h.ID + ": " + fleet.ErrRevoked.Error()}, w.fleet.away, "its session ends")
	require.False(t, w.host("a").Enrolled)
	_, err = w.whose(stays)
	require.NoError(t, err)
	require.ErrorIs(t, w.Revoke(t.Context(), "nobody"), ErrNotFound)
}

func TestLocalAgent(t *testing.T) {
	w := newWorld(t)
	ctx, token := t.Context(), tokens.New(tokens.Agent)
	h, err := w.LocalAgent(ctx, token, "")
	require.NoError(t, err)
	require.Equal(t, "local", h.Name)
	require.True(t, h.Local && h.Enrolled)
	host, err := w.whose(token)
	require.NoError(t, err)
	require.Equal(t, h.ID, host)
	require.NoError(t, w.Seen(ctx, h.ID, Sighting{Agent: agentA, Engine: "ENG:1"}))

	w = w.reopen() // the next start of the hub, with its agent's data lost
	again, err := w.LocalAgent(ctx, token, "other")
	require.NoError(t, err)
	require.Equal(t, h.ID, again.ID, "it is the same host, whatever it is to be called")
	require.Empty(t, again.Agent)
	require.NoError(t, w.Seen(ctx, h.ID, Sighting{Agent: agentB, Engine: "ENG:1"}))

	changed := tokens.New(tokens.Agent)
	again, err = w.LocalAgent(ctx, changed, "")
	require.NoError(t, err)
	require.Equal(t, h.ID, again.ID)
	_, err = w.whose(token)
	require.ErrorIs(t, err, fleet.ErrRefused, "the former token ends")

	require.ErrorIs(t, w.RotateToken(ctx, "local"), ErrLocal)
	_, _, err = w.Reenrol(ctx, "local", ReenrolSpec{})
	require.ErrorIs(t, err, ErrLocal)
	_, err = w.LocalAgent(ctx, tokens.New(tokens.Enrolment), "")
	require.ErrorIs(t, err, queue.ErrInvalid)
	_, theirs := w.enrolled("b")
	_, err = w.LocalAgent(ctx, theirs, "")
	require.ErrorIs(t, err, ErrCredentialTaken)
	require.NoError(t, w.Remove(ctx, "local", 0, true))
	_, err = w.LocalAgent(ctx, changed, "")
	require.ErrorIs(t, err, fleet.ErrRemoved, "a removed host's token is refused for ever")
	_, err = w.LocalAgent(ctx, tokens.New(tokens.Agent), "b")
	require.ErrorIs(t, err, ErrNameTaken)
	fresh, err := w.LocalAgent(ctx, tokens.New(tokens.Agent), "")
	require.NoError(t, err)
	require.NotEqual(t, h.ID, fresh.ID)
}
