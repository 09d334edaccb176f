package plane_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/provisioner"
)

// What was granted to the loop of this process is forgotten with the process: its
// next life gets the job at once, and not when the promise is over.
func TestTheNextLifeOfALoopGetsWhatItWasGranted(t *testing.T) {
	w := queuetest.New(t)
	open := func() *plane.ControlPlane {
		c, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
		require.NoError(t, err)
		return c
	}
	w.Add("linux")
	ad := provisioner.Advertisement{
		Wait: 5 * time.Second, MaxReservations: 10, ReservationLifetime: 10 * time.Minute,
		Templates: []provisioner.Slots{{Template: "small", Labels: []string{"linux"}, Free: 5}},
	}
	first, err := open().Poll(t.Context(), ad)
	require.NoError(t, err)
	require.Len(t, first.Grants, 1)

	second := open()
	again, err := second.Poll(t.Context(), ad)
	require.NoError(t, err)
	require.Len(t, again.Grants, 1)
	require.NotEqual(t, first.Grants[0].Reservation, again.Grants[0].Reservation)
	late, err := second.Mint(t.Context(), []provisioner.MintRequest{{Runner: ledger.NewID(), Template: "small", Reservation: first.Grants[0].Reservation, Labels: []string{"linux"}}})
	require.NoError(t, err)
	require.Empty(t, late, "nothing is to be had for the old one")
}

// A runner that waits gets it before one is launched for it.
func TestWhatTheLastLifeWasGrantedGoesToWhoWaits(t *testing.T) {
	w := queuetest.New(t)
	open := func() queue.Provisioner {
		c, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
		require.NoError(t, err)
		return queuetest.Self(t, c)
	}
	self := open()
	job := w.Add("a")
	require.Len(t, w.Look(self, 1, "a").Reservations, 1)
	_, control, none := w.Enrolled(self, "", "warm", "a")
	require.True(t, none.IsZero(), "the job is promised to another")
	open()
	require.Equal(t, queue.StateLaunched, w.StateOf(job))
	activation, err := w.Assignment(t.Context(), control, 0)
	require.NoError(t, err)
	require.Equal(t, job.ID, w.Claimed(activation, true, "a").JobID)
}

// Why: of a batch of launches some are minted when a hub is killed. What was not must
// not wait for the promise's end, nor take slots from other jobs until then.
func TestTheNextLifeGetsWhatWasNotMintedOfAPromise(t *testing.T) {
	dir := storetest.Dir(t)
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	q, err := queue.New(t.Context(), queue.Config{Store: s})
	require.NoError(t, err)
	ad := provisioner.Advertisement{
		MaxReservations: 10, ReservationLifetime: 10 * time.Minute,
		Templates: []provisioner.Slots{{Template: "small", Labels: []string{"linux"}, Free: 3}},
	}
	for range 3 {
		_, err := q.Submit(t.Context(), queue.JobSpec{Labels: []string{"linux"}, Run: "true"})
		require.NoError(t, err)
	}
	first, err := plane.New(t.Context(), q, plane.Config{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	before, err := first.Poll(t.Context(), ad)
	require.NoError(t, err)
	require.Equal(t, 3, before.Grants[0].Count)
	minted, err := first.Mint(t.Context(), []provisioner.MintRequest{{Runner: ledger.NewID(), Template: "small", Reservation: before.Grants[0].Reservation, Labels: []string{"linux"}}})
	require.NoError(t, err)
	require.Len(t, minted, 1)
	require.NoError(t, s.Close())

	w := queuetest.Open(t, dir)
	second, err := plane.New(t.Context(), w.Queue, plane.Config{RunnerURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	ad.Templates[0].Free = 2 // one is taken by the runner that was minted for
	after, err := second.Poll(t.Context(), ad)
	require.NoError(t, err)
	require.Len(t, after.Grants, 1, "at once")
	require.Equal(t, 2, after.Grants[0].Count)
	require.Equal(t, []string{"1"}, w.Strings(`SELECT count(*) FROM jobs WHERE reservation_id = ? AND runner_id IS NOT NULL`, before.Grants[0].Reservation),
		"the runner that was minted keeps its job")
}
