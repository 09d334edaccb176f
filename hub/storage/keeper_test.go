package storage_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
	"github.com/slipway-ci/slipway/hub/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type kept struct {
	t     *testing.T
	queue *queue.Queue
	logs  *logs.Store
}

func newKept(t *testing.T, dir string, adjust ...func(*queue.Config)) *kept {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	cfg := queue.Config{Store: db}
	for _, a := range adjust {
		a(&cfg)
	}
	k := &kept{t: t}
	k.queue, err = queue.New(t.Context(), cfg)
	require.NoError(t, err)
	k.logs, err = logs.New(logs.Config{Dir: dir + "/logs"})
	require.NoError(t, err)
	return k
}

// job is a job with a log; ended unless it is to wait.
func (k *kept) job(size int, ended bool) string {
	k.t.Helper()
	job, err := k.queue.Submit(k.t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "x"})
	require.NoError(k.t, err)
	_, err = k.logs.Append(logs.Key{Job: job.ID, Attempt: 1}, 0, []byte(strings.Repeat("x", size)))
	require.NoError(k.t, err)
	if ended {
		_, err = k.queue.Cancel(k.t.Context(), job.ID)
		require.NoError(k.t, err)
	}
	return job.ID
}

func (k *kept) keeper(adjust func(*storage.KeeperConfig)) *storage.Keeper {
	k.t.Helper()
	cfg := storage.KeeperConfig{Queue: k.queue, Logs: k.logs, Batch: 2}
	adjust(&cfg)
	keeper, err := storage.NewKeeper(k.t.Context(), cfg)
	require.NoError(k.t, err)
	return keeper
}

func (k *kept) left() (ids []string) {
	k.t.Helper()
	jobs, _, err := k.queue.Jobs(k.t.Context(), queue.JobFilter{Limit: 500})
	require.NoError(k.t, err)
	for _, job := range jobs {
		ids = append(ids, job.ID)
	}
	return ids
}

func TestOldJobsGoWithTheirLogs(t *testing.T) {
	k := newKept(t, t.TempDir())
	keeper := k.keeper(func(c *storage.KeeperConfig) { c.Jobs = time.Millisecond })
	waiting := k.job(10, false)
	for range 7 {
		k.job(10, true)
	}
	require.Eventually(t, func() bool {
		require.NoError(t, keeper.Pass(t.Context()))
		return len(k.left()) == 1
	}, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, []string{waiting}, k.left(), "a job that has not ended stays, however old")
	require.Equal(t, int64(10), k.logs.Total())
}

func TestTheOldestGoWhenThereIsTooMuch(t *testing.T) {
	k := newKept(t, t.TempDir())
	rows, err := k.queue.Bytes(t.Context())
	require.NoError(t, err)
	require.Positive(t, rows)
	keeper := k.keeper(func(c *storage.KeeperConfig) { c.Bytes = rows + 4<<20 })
	waiting := k.job(1<<20, false)
	var ended []string
	for range 6 {
		ended = append(ended, k.job(1<<20, true))
	}
	require.NoError(t, keeper.Pass(t.Context()))
	left := k.left()
	require.Contains(t, left, waiting)
	require.Contains(t, left, ended[5], "the newest stay")
	require.NotContains(t, left, ended[0])
	require.GreaterOrEqual(t, len(left), 3, "not more than needed may go")
	require.LessOrEqual(t, k.logs.Total(), int64(4<<20))
	require.NoError(t, keeper.Pass(t.Context()))
	require.Equal(t, left, k.left(), "then nothing more goes")
}

func TestOldEventsGo(t *testing.T) {
	k := newKept(t, t.TempDir())
	keeper := k.keeper(func(c *storage.KeeperConfig) { c.Events = time.Millisecond })
	ended, waiting := k.job(1, true), k.job(1, false)
	require.Eventually(t, func() bool {
		require.NoError(t, keeper.Pass(t.Context()))
		events, err := k.queue.JobEvents(t.Context(), ended, 0)
		require.NoError(t, err)
		return len(events) == 0
	}, 30*time.Second, 5*time.Millisecond)
	events, err := k.queue.JobEvents(t.Context(), waiting, 0)
	require.NoError(t, err)
	require.NotEmpty(t, events)
	require.Len(t, k.left(), 2)
}

func TestLogsWithoutJobsGoAtStart(t *testing.T) {
	k := newKept(t, t.TempDir())
	stays := k.job(5, true)
	_, err := k.logs.Append(logs.Key{Job: "0192-left-by-a-crash", Attempt: 1}, 0, []byte("x"))
	require.NoError(t, err)
	again, err := logs.New(logs.Config{Dir: k.queue.Store().Dir() + "/logs"})
	require.NoError(t, err)
	k.logs = again
	k.keeper(func(*storage.KeeperConfig) {})
	require.Equal(t, int64(5), k.logs.Total(), fmt.Sprintf("only the log of %s is known", stays))
}
