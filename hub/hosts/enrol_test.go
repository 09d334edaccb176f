package hosts

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

func TestEnrolmentIsUsedOnceAndMayBeRepeated(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	h, i := w.add("a")
	for range 3 { // the script may be fetched as often as one likes
		invited, err := w.Invited(ctx, i.Token)
		require.NoError(t, err)
		require.Equal(t, h.ID, invited.ID)
	}
	token := tokens.New(tokens.Agent)
	got, err := w.Enrol(ctx, i.Token, agentA, token.Digest())
	require.NoError(t, err)
	require.Equal(t, h.ID, got.ID)
	require.True(t, got.Enrolled)
	require.Equal(t, agentA, w.fleet.told(h.ID).Agent, "the fleet knows who it is from now on")
	for range 3 { // its answer was lost
		again, err := w.Enrol(ctx, i.Token, agentA, token.Digest())
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	_, err = w.Invited(ctx, i.Token)
	require.ErrorIs(t, err, ErrSpentEnrolment)
	_, err = w.Enrol(ctx, i.Token, agentA, tokens.New(tokens.Agent).Digest())
	require.ErrorIs(t, err, ErrOtherAgent, "another credential")
	_, err = w.Enrol(ctx, i.Token, agentB, token.Digest())
	require.ErrorIs(t, err, ErrOtherAgent, "another agent")
	require.ErrorIs(t, err, ErrSpentEnrolment)
	host, err := w.whose(token)
	require.NoError(t, err)
	require.Equal(t, h.ID, host)
	require.Equal(t, []string{"host-added host/a", "host-enrolled host/a"}, w.told(), "a repetition is nothing new")
}

// Who repeats an enrolment is told that it got something: only while that is good.
func TestEnrolmentIsNotRepeatedForACredentialThatEnded(t *testing.T) {
	for name, end := range map[string]func(w *world, h Host){
		"rotated": func(w *world, h Host) {
			next := tokens.New(tokens.Agent)
			require.NoError(w.t, w.Rotated(w.t.Context(), h.ID, next.Digest()))
			_, err := w.whose(next)
			require.NoError(w.t, err)
		},
		"enrolled anew": func(w *world, h Host) {
			_, i, err := w.Reenrol(w.t.Context(), h.ID, ReenrolSpec{})
			require.NoError(w.t, err)
			_, err = w.Enrol(w.t.Context(), i.Token, agentA, tokens.New(tokens.Agent).Digest())
			require.NoError(w.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			h, i := w.add("a")
			token := tokens.New(tokens.Agent)
			_, err := w.Enrol(t.Context(), i.Token, agentA, token.Digest())
			require.NoError(t, err)
			end(w, h)
			_, err = w.Enrol(t.Context(), i.Token, agentA, token.Digest())
			require.ErrorIs(t, err, ErrSpentEnrolment)
			_, err = w.whose(token)
			require.ErrorIs(t, err, fleet.ErrRefused)
		})
	}
}

func TestEnrolmentHasOneWinner(t *testing.T) {
	w := newWorld(t)
	_, i := w.add("a")
	var wg sync.WaitGroup
	made := make([]tokens.Token, 100)
	errs := make([]error, len(made))
	for n := range made {
		made[n] = tokens.New(tokens.Agent)
		wg.Go(func() { _, errs[n] = w.Enrol(t.Context(), i.Token, newID(), made[n].Digest()) })
	}
	wg.Wait()
	winners := 0
	for n, err := range errs {
		_, refused := w.whose(made[n])
		if err == nil {
			winners++
			require.NoError(t, refused, "the winner's credential is good")
			continue
		}
		require.ErrorIs(t, err, ErrOtherAgent)
		require.ErrorIs(t, refused, fleet.ErrRefused, "a loser's credential opened something")
	}
	require.Equal(t, 1, winners)
}

func TestEnrolmentExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, unused := w.add("unused")
		_, used := w.add("used")
		token := tokens.New(tokens.Agent)
		_, err := w.Enrol(t.Context(), used.Token, agentA, token.Digest())
		require.NoError(t, err)
		time.Sleep(15*time.Minute - time.Second)
		_, err = w.Invited(t.Context(), unused.Token)
		require.NoError(t, err)
		_, err = w.Enrol(t.Context(), used.Token, agentA, token.Digest())
		require.NoError(t, err, "a repetition, as long as it lives")
		time.Sleep(time.Second)
		_, err = w.Invited(t.Context(), unused.Token)
		require.ErrorIs(t, err, ErrExpiredEnrolment)
		_, err = w.Enrol(t.Context(), unused.Token, agentB, tokens.New(tokens.Agent).Digest())
		require.ErrorIs(t, err, ErrExpiredEnrolment)
		_, err = w.Enrol(t.Context(), used.Token, agentA, token.Digest())
		require.ErrorIs(t, err, ErrSpentEnrolment)
		require.NotErrorIs(t, err, ErrOtherAgent)
		_, err = w.whose(token)
		require.NoError(t, err, "the credential outlives the enrolment")
		list, _, err := w.Enrolments(t.Context(), Page{})
		require.NoError(t, err)
		require.Empty(t, list)

		time.Sleep(keepSpent + time.Second)
		w.run()
		synctest.Wait()
		_, err = w.Invited(t.Context(), unused.Token)
		require.ErrorIs(t, err, ErrUnknownEnrolment, "what is long over is forgotten")
	})
}

func TestEnrolRefuses(t *testing.T) {
	w := newWorld(t)
	_, i := w.add("a")
	digest := tokens.New(tokens.Agent).Digest()
	for name, token := range map[string]tokens.Token{
		"none": {}, "unknown": tokens.New(tokens.Enrolment), "of another kind": tokens.New(tokens.Agent),
	} {
		_, err := w.Enrol(t.Context(), token, agentA, digest)
		require.ErrorIs(t, err, ErrUnknownEnrolment, name)
		_, err = w.Invited(t.Context(), token)
		require.ErrorIs(t, err, ErrUnknownEnrolment, name)
	}
	for _, agent := range []string{"", "x", "0192F0C1-6F3E-7A55-8A3E-0A4D2F7B9C11", "{" + agentA + "}", agentA + "\n"} {
		_, err := w.Enrol(t.Context(), i.Token, agent, digest)
		require.ErrorIs(t, err, queue.ErrInvalid, "%q", agent)
	}
	_, err := w.Enrol(t.Context(), i.Token, agentA, tokens.Digest{})
	require.ErrorIs(t, err, queue.ErrInvalid)

	_, other := w.enrolled("b")
	_, err = w.Enrol(t.Context(), i.Token, agentA, other.Digest())
	require.ErrorIs(t, err, ErrCredentialTaken)
	_, err = w.Enrol(t.Context(), i.Token, agentA, digest)
	require.NoError(t, err, "what was refused did not use it up")
}

func TestCancelEnrolment(t *testing.T) {
	w := newWorld(t)
	_, i := w.add("a")
	require.NoError(t, w.CancelEnrolment(t.Context(), i.ID))
	_, err := w.Invited(t.Context(), i.Token)
	require.ErrorIs(t, err, ErrUnknownEnrolment)
	require.ErrorIs(t, w.CancelEnrolment(t.Context(), i.ID), ErrNotFound)
	w.enrolled("b")
	list, _, err := w.Enrolments(t.Context(), Page{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.False(t, list[0].UsedAt.IsZero())
	require.ErrorIs(t, w.CancelEnrolment(t.Context(), list[0].ID), ErrSpentEnrolment)
}

func TestReenrolKeepsTheIdentity(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	h, old := w.enrolled("a")
	require.NoError(t, w.Seen(ctx, h.ID, Sighting{Agent: h.Agent, Engine: "ENG:1", Version: "v1.0.0"}))
	require.NoError(t, w.Records().Save(ctx, []fleet.Record{{Runner: "r1", Host: h.ID}}, nil))
	most := 3
	h, err := w.Edit(ctx, "a", 0, Change{MaxRunners: &most})
	require.NoError(t, err)

	yes := true
	asked, first, err := w.Reenrol(ctx, "a", ReenrolSpec{Isolated: &yes})
	require.NoError(t, err)
	require.True(t, asked.Isolated)
	require.Equal(t, h.ID, asked.ID)
	_, err = w.whose(old)
	require.NoError(t, err, "until the line is used nothing changes for its agent")
	_, second, err := w.Reenrol(ctx, "a", ReenrolSpec{})
	require.NoError(t, err)
	_, err = w.Invited(ctx, first.Token)
	require.ErrorIs(t, err, ErrUnknownEnrolment, "a fresh line ends the one before")

	token := tokens.New(tokens.Agent)
	got, err := w.Enrol(ctx, second.Token, agentB, token.Digest())
	require.NoError(t, err)
	require.Equal(t, h.ID, got.ID)
	require.Equal(t, agentB, got.Agent, "it takes over the new agent")
	require.Empty(t, got.Engine, "and will learn its engine")
	require.Equal(t, 3, got.MaxRunners)
	require.True(t, got.Isolated)
	require.Equal(t, agentB, w.fleet.told(h.ID).Agent)
	_, err = w.whose(old)
	require.ErrorIs(t, err, fleet.ErrRefused, "the former credential ends")
	records, err := w.Records().Load(ctx)
	require.NoError(t, err)
	require.Len(t, records, 1, "its runners are untouched")
	require.ErrorIs(t, w.Seen(ctx, h.ID, Sighting{Agent: h.Agent}), ErrDuplicated, "the former agent is not this host any more")
	require.NoError(t, w.Seen(ctx, h.ID, Sighting{Agent: agentB, Engine: "ENG:2"}))
	require.Equal(t, "ENG:2", w.host("a").Engine)
	_, _, err = w.Reenrol(ctx, "nobody", ReenrolSpec{})
	require.ErrorIs(t, err, ErrNotFound)
}

// TestCredentialsAreThoseOfAModel lets enrolments, rotations, uses, revocations,
// removals and restarts come in any order, and holds what is let in against a model.
func TestCredentialsAreThoseOfAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		m := &credentialModel{world: copied(t, dir), hosts: map[string]*modelHost{}, all: map[tokens.Digest]string{}}
		defer func() { _ = m.store.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"add": m.add, "reenrol": m.reenrol, "enrol": m.enrol, "rotate": m.rotate, "use": m.use, "revoke": m.revoke, "remove": m.remove, "restart": m.restart,
			"": func(*rapid.T) { m.check() },
		})
	})
}
