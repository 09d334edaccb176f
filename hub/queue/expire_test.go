package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

func TestWhatIsOfNoUseIsSweptAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		p := w.Provisioner(queue.GenerationHead)
		report := func(id string, state queue.RunnerState) {
			_, _, err := w.Report(t.Context(), p, []queue.RunnerEvent{{ProviderID: id, Labels: []string{"a"}, State: state, At: time.Now()}})
			require.NoError(t, err)
		}
		w.Add("a")
		job := w.Add("a")
		reservation := w.Look(p, 2, "a").Reservations[0].ID
		_, _, _ = w.Enrolled(p, reservation, "ended", "a")
		_, _, activation := w.Enrolled(p, reservation, "busy", "a")
		report("ended", queue.RunnerFailed)
		claim := w.Claimed(activation, true, "a")
		require.Equal(t, job.ID, claim.JobID)
		_, _, _ = w.Enrolled(p, "", "forgotten", "b")
		require.Equal(t, 3, w.Count("runners"))

		renew := func(d time.Duration) {
			for began := time.Now(); time.Since(began) < d; {
				time.Sleep(time.Minute)
				if renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID); err == nil {
					claim.LeaseToken = renewal.LeaseToken
				}
			}
			synctest.Wait()
		}
		renew(30 * time.Minute)
		require.Equal(t, 1, w.Count("reservations"), "late requests still get the right answer")
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		require.Zero(t, w.Count("reservations"))
		require.Zero(t, w.Count("tokens WHERE kind IN ('rbt', 'rcs', 'rat')"))
		require.Equal(t, 1, w.Count("tokens WHERE kind = 'pt'"), "tokens that people made stay")
		require.Zero(t, w.Count("runners WHERE provider_runner_id = 'ended'"))
		require.Equal(t, 2, w.Count("runners WHERE state = 'terminated' AND reason = 'never heard of again'"))
		require.Equal(t, 2, w.Count("jobs"), "jobs are for retention to delete")
	})
}
