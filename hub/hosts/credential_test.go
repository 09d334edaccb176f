package hosts

import (
	"bytes"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
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
}

// What operators did to the local host stands until the token is another one, and
// keeps no hub from starting.
func TestTheLocalHostNeverKeepsTheHubFromStarting(t *testing.T) {
	ctx, first := t.Context(), tokens.New(tokens.Agent)
	for name, test := range map[string]struct {
		before func(*world) tokens.Token // the one that the hub is started with then
		says   string
		holds  error // what that token is answered
	}{
		"removed": {func(w *world) tokens.Token {
			require.NoError(t, w.Remove(ctx, "local", 0, true))
			return first
		}, "was removed", fleet.ErrRemoved},
		"revoked": {func(w *world) tokens.Token {
			require.NoError(t, w.Revoke(ctx, "local"))
			require.False(t, w.host("local").Enrolled)
			return first
		}, "was revoked", fleet.ErrRefused},
		"revoked, and another one since": {func(w *world) tokens.Token {
			require.NoError(t, w.Revoke(ctx, "local"))
			_, err := w.LocalAgent(ctx, tokens.New(tokens.Agent), "")
			require.NoError(t, err)
			return first
		}, "was revoked", fleet.ErrRefused},
		"revoked, then removed": {func(w *world) tokens.Token {
			require.NoError(t, w.Revoke(ctx, "local"))
			require.NoError(t, w.Remove(ctx, "local", 0, true))
			return first
		}, "was removed", fleet.ErrRemoved},
		"another host's token": {func(w *world) tokens.Token {
			_, theirs := w.enrolled("b")
			return theirs
		}, "that of a host that was enrolled", nil},
		"its name is taken": {func(w *world) tokens.Token {
			require.NoError(t, w.Remove(ctx, "local", 0, true))
			w.enrolled("b")
			w.exec(`UPDATE hosts SET name = 'local' WHERE name = 'b'`) // before it was reserved
			return tokens.New(tokens.Agent)
		}, "slipway hosts set NAME --name NEW", fleet.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			logged := func(c *Config) { c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log}) }
			w := newWorld(t, logged)
			_, err := w.LocalAgent(ctx, first, "")
			require.NoError(t, err)
			token := test.before(w)
			for range 2 { // starts
				w = w.reopen(logged)
				log.Reset()
				h, err := w.LocalAgent(ctx, token, "")
				require.NoError(t, err, "the hub starts")
				require.Zero(t, h)
				require.Contains(t, log.String(), "[WARN]")
				require.Contains(t, log.String(), test.says)
				_, err = w.whose(token)
				require.ErrorIs(t, err, test.holds, "and what was done stands")
			}
			if name == "its name is taken" {
				_, err = w.Edit(ctx, "local", 0, Change{Name: new("b")})
				require.NoError(t, err)
			}
			h, err := w.LocalAgent(ctx, tokens.New(tokens.Agent), "")
			require.NoError(t, err)
			require.True(t, h.Local && h.Enrolled, "what the warning says helps")
			require.Equal(t, "local", h.Name)
		})
	}
}

func TestNobodyElseIsNamedLocal(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.Add(t.Context(), HostSpec{Name: LocalName})
	require.ErrorIs(t, err, queue.ErrInvalid)
	require.ErrorContains(t, err, "the host beside the hub")
	w.add("a")
	_, err = w.Edit(t.Context(), "a", 0, Change{Name: new(LocalName)})
	require.ErrorIs(t, err, queue.ErrInvalid)

	h, err := w.LocalAgent(t.Context(), tokens.New(tokens.Agent), "")
	require.NoError(t, err)
	for _, name := range []string{"here", LocalName} { // it may be renamed, and back
		_, err = w.Edit(t.Context(), h.ID, 0, Change{Name: &name})
		require.NoError(t, err)
	}
}
