package shipfoxapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/hub/queue"
)

// leased is one runner's lease, renewed as its runner does: each time with the token
// that the last answer gave.
type leased struct{ path, token string }

// leases are jobs that run.
func (w *world) leases(n int) []*leased {
	w.t.Helper()
	session, err := w.queue.Register(w.t.Context(), w.manual, []string{"a"})
	require.NoError(w.t, err)
	out := make([]*leased, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() {
			if _, errs[i] = w.queue.Submit(w.t.Context(), queue.JobSpec{Labels: []string{"a"}, Run: "true"}); errs[i] != nil {
				return
			}
			claim, found, err := w.queue.Claim(w.t.Context(), session.Token, true)
			if err == nil && !found {
				err = fmt.Errorf("nothing to claim")
			}
			out[i], errs[i] = &leased{"/runners/jobs/" + claim.JobID + "/heartbeat", claim.LeaseToken}, err
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(w.t, err)
	}
	return out
}

// BenchmarkRenewal is what each of the busy runners asks every ten seconds, without
// the socket: 20,000 of them are 2,000 renewals a second. What it may not do is write.
func BenchmarkRenewal(b *testing.B) {
	w := newWorld(b, queue.GenerationHead)
	leases := w.leases(1000)
	b.ReportAllocs()
	cpu, written := spent(b)
	for i := 0; b.Loop(); i++ {
		l := leases[i%len(leases)]
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, l.path, nil)
		req.Header.Set("Authorization", "Bearer "+l.token)
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code, rec.Body)
		}
	}
	cpuAfter, writtenAfter := spent(b)
	b.ReportMetric(float64((cpuAfter-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(writtenAfter-written)/float64(b.N), "written-B/op")
}

// spent is the CPU time of this process, and how many bytes it wrote
// (https://man7.org/linux/man-pages/man5/proc_pid_io.5.html).
func spent(b *testing.B) (cpu time.Duration, written int64) {
	var usage unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	io, err := os.ReadFile("/proc/self/io")
	require.NoError(b, err)
	_, after, found := strings.Cut(string(io), "wchar: ")
	require.True(b, found)
	_, err = fmt.Sscan(after, &written)
	require.NoError(b, err)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), written
}
