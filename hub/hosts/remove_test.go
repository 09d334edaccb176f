package hosts

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/tokens"
)

func TestRemoveRefusesAHostInUse(t *testing.T) {
	for name, test := range map[string]struct {
		state   fleet.HostState
		records []string
		want    string
	}{
		"online":                      {online("v1.2.0", 0), nil, "it is online: drain it"},
		"online, with runners":        {online("v1.2.0", 2), []string{"r1", "r2"}, "it is online and has 2 runners: drain it"},
		"offline, with runners":       {fleet.HostState{Held: 2}, []string{"r1", "r2"}, "it is offline and may have 2 runners: drain it"},
		"after a restart":             {fleet.HostState{}, []string{"r1"}, "it is offline and may have 1 runner:"},
		"a launch that is on its way": {fleet.HostState{Held: 1}, nil, "may have 1 runner:"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).withQueue()
			h, token := w.enrolled("a")
			w.record(h.ID, test.records...)
			w.fleet.is(h.ID, test.state)
			err := w.Remove(t.Context(), "a", 0, false)
			require.ErrorIs(t, err, ErrBusy)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "by force", "it says what to do")
			require.Equal(t, h.ID, w.host("a").ID)
			require.False(t, w.fleet.told(h.ID).Cordoned, "nothing has changed")
			_, err = w.whose(token)
			require.NoError(t, err)

			require.NoError(t, w.Remove(t.Context(), "a", 0, true))
			w.gone(h, token)
		})
	}
}

// An edit between the look and the removal is not lost: the write decides.
func TestRemoveOfWhatWasEditedSinceIsRefused(t *testing.T) {
	w := newWorld(t).withQueue()
	_, token := w.enrolled("a")
	stale := w.host("a").Version
	var once sync.Once
	w.fleet.setting = func(h fleet.Host) {
		if h.Cordoned { // it was looked at, and is about to go
			once.Do(func() {
				_, err := w.Edit(t.Context(), "a", 0, Change{Labels: map[string]string{"zone": "b"}})
				require.NoError(t, err)
			})
		}
	}
	require.ErrorIs(t, w.Remove(t.Context(), "a", stale, true), ErrStale)
	h := w.host("a")
	require.NotEqual(t, stale, h.Version)
	require.False(t, w.fleet.told(h.ID).Cordoned, "it goes on as it was")
	_, err := w.whose(token)
	require.NoError(t, err)
	require.ErrorIs(t, w.Remove(t.Context(), "a", stale, true), ErrStale)
	require.NoError(t, w.Remove(t.Context(), "a", h.Version, true))
}

// gone checks that nothing is left of a removed host but that it was removed.
func (w *world) gone(h Host, token tokens.Token) {
	w.t.Helper()
	ctx := w.t.Context()
	for _, nameOrID := range []string{h.Name, h.ID} {
		_, err := w.Host(ctx, nameOrID)
		require.ErrorIs(w.t, err, ErrNotFound)
	}
	records, err := w.Records().Load(ctx)
	require.NoError(w.t, err)
	require.Empty(w.t, records)
	require.Contains(w.t, w.fleet.forgotten, h.ID)
	id, err := w.whose(token)
	require.ErrorIs(w.t, err, fleet.ErrRemoved)
	require.Equal(w.t, h.ID, id, "who was removed is told who it was")
	require.ErrorIs(w.t, w.Seen(ctx, h.ID, Sighting{Agent: h.Agent}), ErrNotFound)
	require.ErrorIs(w.t, w.Rotated(ctx, h.ID, tokens.New(tokens.Agent).Digest()), ErrNotFound)
}

func TestRemoveIsForEver(t *testing.T) {
	w := newWorld(t)
	h, token := w.enrolled("a")
	next := tokens.New(tokens.Agent)
	require.NoError(t, w.Rotated(t.Context(), h.ID, next.Digest()))
	_, i, err := w.Reenrol(t.Context(), "a", ReenrolSpec{})
	require.NoError(t, err)
	require.NoError(t, w.Remove(t.Context(), "a", 0, false), "one that is away and has nothing goes without force")
	require.ErrorIs(t, w.Remove(t.Context(), "a", 0, true), ErrNotFound)

	fresh, _ := w.enrolled("a")
	require.NotEqual(t, h.ID, fresh.ID, "a new host under an old name has a new id")
	w = w.reopen()
	for _, token := range []tokens.Token{token, next} {
		_, err := w.whose(token)
		require.ErrorIs(t, err, fleet.ErrRemoved)
	}
	_, err = w.Invited(t.Context(), i.Token)
	require.ErrorIs(t, err, ErrUnknownEnrolment)
	_, again, err := w.Reenrol(t.Context(), "a", ReenrolSpec{})
	require.NoError(t, err)
	_, err = w.Enrol(t.Context(), again.Token, agentA, token.Digest())
	require.ErrorIs(t, err, ErrCredentialTaken, "nor does its credential come back by an enrolment")
	require.NotContains(t, w.fleet.set, h.ID)
}

// running puts a job onto a runner of a host, as the loop would.
func (w *world) running(host, runner string, spec queue.JobSpec) (job queue.Job, lease string) {
	w.t.Helper()
	ctx := w.t.Context()
	spec.Labels, spec.Run = []string{"a"}, "true"
	job, err := w.queue.Submit(ctx, spec)
	require.NoError(w.t, err)
	_, secret, err := w.queue.CreateToken(ctx, queue.TokenSpec{Kind: tokens.Provisioner})
	require.NoError(w.t, err)
	p, err := w.queue.AuthenticateProvisioner(ctx, secret.Reveal())
	require.NoError(w.t, err)
	answer, err := w.queue.Poll(ctx, p, queue.PollRequest{Max: 1, Slots: []grant.Slots{{Key: "t", Labels: []string{"a"}, Free: 1}}})
	require.NoError(w.t, err)
	minted, err := w.queue.Mint(ctx, p, []queue.InstanceRequest{{Reservation: answer.Reservations[0].ID, ProviderID: runner}})
	require.NoError(w.t, err)
	w.record(host, runner)
	control, err := w.queue.Exchange(ctx, minted[0].Token.Reveal())
	require.NoError(w.t, err)
	activation, err := w.queue.Enrol(ctx, control.Token.Reveal(), queue.Enrolment{Labels: []string{"a"}, Kind: "docker"})
	require.NoError(w.t, err)
	session, err := w.queue.Register(ctx, activation.Reveal(), []string{"a"})
	require.NoError(w.t, err)
	claim, _, err := w.queue.Claim(ctx, session.Token, true)
	require.NoError(w.t, err)
	_, err = w.queue.LeasedJob(ctx, claim.LeaseToken)
	require.NoError(w.t, err)
	return job, claim.LeaseToken
}

func TestRemoveByForceEndsTheJobs(t *testing.T) {
	w := newWorld(t).withQueue()
	ctx := t.Context()
	h, token := w.enrolled("a")
	other, _ := w.enrolled("b")
	job, lease := w.running(h.ID, "r1", queue.JobSpec{})
	stays, theirs := w.running(other.ID, "r2", queue.JobSpec{})
	require.NoError(t, w.Remove(ctx, "a", 0, true))
	ended, err := w.queue.Job(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, queue.StateRunnerLost, ended.State)
	require.Equal(t, "host-removed", ended.Reason)
	require.ErrorIs(t, w.queue.Finish(ctx, lease, queue.Result{Outcome: queue.OutcomeSucceeded}), queue.ErrLeaseEnded)
	_, err = w.queue.Renew(ctx, theirs, stays.ID)
	require.NoError(t, err, "other hosts' jobs go on")
	_, err = w.whose(token)
	require.ErrorIs(t, err, fleet.ErrRemoved)
	records, err := w.Records().Load(ctx)
	require.NoError(t, err)
	require.Len(t, records, 1)
}

// A launch may be on its way to the host when that is removed: its record comes
// after the removal, and must neither stay nor let the runner have a job.
func TestALaunchThatIsTooLateIsRevoked(t *testing.T) {
	w := newWorld(t).withQueue()
	ctx := t.Context()
	h, _ := w.enrolled("a")
	other, _ := w.enrolled("b")
	require.NoError(t, w.Remove(ctx, "a", 0, true))
	job, err := w.queue.Submit(ctx, queue.JobSpec{Labels: []string{"a"}, Run: "true"})
	require.NoError(t, err)
	plane, err := plane.New(ctx, w.queue, plane.Config{RunnerURL: "http://a"})
	require.NoError(t, err)
	self, err := plane.Identify(ctx)
	require.NoError(t, err)
	p := queue.Provisioner{ID: self.ID, Generation: queue.GenerationHead}
	answer, err := w.queue.Poll(ctx, p, queue.PollRequest{Max: 1, Slots: []grant.Slots{{Key: "t", Labels: []string{"a"}, Free: 1}}})
	require.NoError(t, err)
	minted, err := w.queue.Mint(ctx, p, []queue.InstanceRequest{{Reservation: answer.Reservations[0].ID, ProviderID: "late"}})
	require.NoError(t, err)
	require.NoError(t, w.Records().Save(ctx, []fleet.Record{{Runner: "late", Host: h.ID}, {Runner: "good", Host: other.ID}}, nil))
	records, err := w.Records().Load(ctx)
	require.NoError(t, err)
	require.Equal(t, []fleet.Record{{Runner: "good", Host: other.ID}}, records)
	_, err = w.queue.Exchange(ctx, minted[0].Token.Reveal())
	require.ErrorIs(t, err, queue.ErrUnauthorized, "should it start, it gets nothing")
	again, err := w.queue.Job(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, queue.StateQueued, again.State, "and its job is another's")
}

func TestRemoveThatCanNotBeWrittenChangesNothing(t *testing.T) {
	w := newWorld(t).withQueue()
	h, token := w.enrolled("a")
	w.record(h.ID, "r1")
	w.exec(`CREATE TRIGGER broken BEFORE UPDATE OF removed_at ON hosts BEGIN SELECT raise(ABORT, 'broken'); END`)
	require.ErrorContains(t, w.Remove(t.Context(), "a", 0, true), "broken")
	require.Equal(t, h.ID, w.host("a").ID)
	require.False(t, w.fleet.told(h.ID).Cordoned, "the fleet is told so, too")
	require.Empty(t, w.fleet.forgotten)
	_, err := w.whose(token)
	require.NoError(t, err)
	records, err := w.Records().Load(t.Context())
	require.NoError(t, err)
	require.Len(t, records, 1)
}
