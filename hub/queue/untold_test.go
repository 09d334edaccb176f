package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

// What was granted to the loop of this process is forgotten with the process: its
// next life gets the job at once, and not when the promise is over.
func TestTheNextLifeOfALoopGetsWhatItWasGranted(t *testing.T) {
	w := newWorld(t)
	open := func() *ControlPlane {
		c, err := w.ControlPlane(t.Context(), ControlPlaneConfig{RunnerURL: "http://127.0.0.1:1"})
		require.NoError(t, err)
		return c
	}
	w.submit("linux")
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
	late, err := second.Mint(t.Context(), []provisioner.MintRequest{{Runner: newID(), Template: "small", Reservation: first.Grants[0].Reservation, Labels: []string{"linux"}}})
	require.NoError(t, err)
	require.Empty(t, late, "nothing is to be had for the old one")
}
