package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
)

func (w *world) count(query string) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.read(w.t.Context(), func(tx *tx) (err error) {
		n, _, err = store.One(tx.Tx, store.Value[int], `SELECT count(*) FROM `+query)
		return err
	}))
	return n
}

func TestWhatIsOfNoUseIsSweptAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		p := w.provisioner(GenerationHead)
		report := func(id string, state RunnerState) {
			_, _, err := w.Report(t.Context(), p, []RunnerEvent{{ProviderID: id, Labels: []string{"a"}, State: state, At: time.Now()}})
			require.NoError(t, err)
		}
		w.submit("a")
		job := w.submit("a")
		reservation := w.poll(p, 2, "a").Reservations[0].ID
		_, _, _ = w.enrolled(p, reservation, "ended", "a")
		_, _, activation := w.enrolled(p, reservation, "busy", "a")
		report("ended", RunnerFailed)
		claim := w.claimed(activation, true, "a")
		require.Equal(t, job.ID, claim.JobID)
		_, _, _ = w.enrolled(p, "", "forgotten", "b")
		require.Equal(t, 3, w.count("runners"))

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
		require.Equal(t, 1, w.count("reservations"), "late requests still get the right answer")
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		require.Zero(t, w.count("reservations"))
		require.Zero(t, w.count("tokens WHERE kind IN ('rbt', 'rcs', 'rat')"))
		require.Equal(t, 1, w.count("tokens WHERE kind = 'pt'"), "tokens that people made stay")
		require.Zero(t, w.count("runners WHERE provider_runner_id = 'ended'"))
		require.Equal(t, 2, w.count("runners WHERE state = 'terminated' AND reason = 'never heard of again'"))
		require.Equal(t, 2, w.count("jobs"), "jobs are for retention to delete")
	})
}
