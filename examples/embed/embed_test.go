package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/provisioner"
)

const asProgram = "SLIPWAY_TEST_EMBED"

func TestMain(m *testing.M) {
	process.Main()
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestTheProgramRunsItsJobs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, []string{
		"sh -c echo hello Ada: stopped", "sh -c echo hello Grace: stopped", "sh -c echo hello Edsger: stopped",
	}, strings.Split(strings.TrimSpace(string(out)), "\n"))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "the program takes its folder away")
}

var offer = provisioner.Advertisement{
	Wait: time.Second, MaxReservations: 5, Templates: []provisioner.Slots{{Template: "small", Labels: []string{"linux"}, Free: 1}},
}

// A job is promised once; a promise that nobody minted goes back to the queue.
func TestAPromiseNotMintedIsPromisedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := make(chan Job, 1)
		plane := NewPlane(jobs, nil)
		jobs <- Job{Labels: []string{"linux"}, Command: []string{"true"}}
		first, err := plane.Poll(t.Context(), offer)
		require.NoError(t, err)
		require.Len(t, first.Grants, 1)
		none, err := plane.Poll(t.Context(), offer)
		require.NoError(t, err)
		require.True(t, none.Empty(), "a grant is given once")

		time.Sleep(grantLife) // the bubble's clock
		again, err := plane.Poll(t.Context(), offer)
		require.NoError(t, err)
		require.Len(t, again.Grants, 1, "the job is not lost")
		request := func(d provisioner.Demand) []provisioner.MintRequest {
			return []provisioner.MintRequest{{Runner: "r", Template: "small", Reservation: d.Grants[0].Reservation}}
		}
		late, err := plane.Mint(t.Context(), request(first))
		require.NoError(t, err)
		require.Empty(t, late, "the first promise is over")
		made, err := plane.Mint(t.Context(), request(again))
		require.NoError(t, err)
		require.Equal(t, []string{"true"}, made[0].Command)
		twice, err := plane.Mint(t.Context(), request(again))
		require.NoError(t, err)
		require.Empty(t, twice, "one job, one runner")
	})
}

func TestNothingIsPromisedWithoutRoom(t *testing.T) {
	jobs := make(chan Job, 1)
	plane := NewPlane(jobs, nil)
	jobs <- Job{Labels: []string{"windows"}}
	demand, err := plane.Poll(t.Context(), provisioner.Advertisement{Wait: time.Millisecond, MaxReservations: 1, Templates: offer.Templates})
	require.NoError(t, err)
	require.True(t, demand.Empty())
	_, err = plane.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r"}})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// A result that could not be handed on is reported again.
func TestAResultIsNotLost(t *testing.T) {
	results := make(chan string, 1)
	plane := NewPlane(nil, results)
	plane.minted["r"] = Job{Command: []string{"true"}}
	events := []provisioner.Event{{Runner: "r", State: provisioner.EventStopped}}
	results <- "full"
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, plane.Report(ended, events), context.Canceled)
	<-results
	require.NoError(t, plane.Report(t.Context(), events))
	require.NoError(t, plane.Report(t.Context(), events), "twice")
	select {
	case result := <-results:
		require.Equal(t, "true: stopped", result)
	default:
		require.Fail(t, "the result is lost")
	}
	require.Empty(t, results)
}
