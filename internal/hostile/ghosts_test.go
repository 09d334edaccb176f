package hostile_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend/memory"
)

// ghost is a runner that nobody launched, as an agent would tell of it.
func ghost(state string) string {
	return fmt.Sprintf(`{"id":%q,"state":%q,"labels":{"template":"small","labels":"small","control-plane":"queue","max-lifetime":"24h0m0s"}}`, uuid.Must(uuid.NewV7()), state)
}

func ghosts(n int, state string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = ghost(state)
	}
	return strings.Join(all, ",")
}

// Why: a scale set counts its runners on all hosts against its maximum. One host
// that invents them must not keep the others from work, and must not pass for a
// second hub, whose sight stops every launch.
func TestInventedRunnersTakeNothingFromOtherHosts(t *testing.T) {
	s := newSite(t)
	good, bad := s.enrol("good", 8), s.enrol("bad", 8)
	var started atomic.Int32
	good.honest(memory.Config{Observe: func(e memory.Event) {
		if e.Kind == memory.Launched {
			started.Add(1)
		}
	}})
	l := bad.lie(`{"cpus":65536,"os":"linux","arch":"amd64"}`, agrees)
	s.scaleSet("small", 8)
	for range 3 {
		require.True(t, l.say(`{"type":"changes","epoch":%d,"changes":{"runners":[%s]}}`, l.epoch, ghosts(30, "running")))
	}
	stop := make(chan struct{})
	flood := make(chan struct{})
	go func() { // new ones keep coming
		defer close(flood)
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				l.say(`{"type":"changes","epoch":%d,"changes":{"runners":[%s]}}`, l.epoch, ghosts(2, "running"))
			}
		}
	}()
	defer func() {
		close(stop)
		<-flood
	}()
	s.jobs("small", 8)
	require.Eventually(t, func() bool { return started.Load() >= 3 }, patience, 50*time.Millisecond, "the other host must get its share")
	require.Contains(t, bad.state().Problem, "foreign-runners")
	var list struct{ Items []struct{ Host string } }
	s.must("GET", "/api/v1/runners?host=bad&limit=500", "", &list)
	require.LessOrEqual(t, len(list.Items), 8, "what was never launched is not told")
}

// Why: a crash makes a scale set wait, on all hosts. Ends that one host invents
// must not be taken for one.
func TestInventedCrashesHoldUpNoScaleSet(t *testing.T) {
	s := newSite(t)
	good, bad := s.enrol("good", 8), s.enrol("bad", 8)
	good.honest(memory.Config{})
	l := bad.lie(`{"cpus":8,"os":"linux","arch":"amd64"}`, agrees)
	s.scaleSet("small", 8)
	for range 5 {
		require.True(t, l.say(`{"type":"changes","epoch":%d,"changes":{"runners":[%s]}}`, l.epoch, ghosts(10, "failed")))
	}
	require.Eventually(t, func() bool { return bad.state().Problem != "" }, patience, 20*time.Millisecond)
	require.NotContains(t, s.log.String(), "backing off")
}
