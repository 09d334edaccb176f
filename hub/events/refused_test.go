package events_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/store/storetest"
)

// Where a host refuses what runners need no runner ever ends, which would tell it: the
// events, the job that waits and its scale set do, with the host's words and the time of
// the next try.
func TestARefusalBeforeAnyRunnerIsTold(t *testing.T) {
	dir := storetest.Dir(t)
	runHost(t, dir, memory.Config{Pull: func(image string) (time.Duration, error) {
		return 0, fmt.Errorf("image %s is not allowed: %w", image, backend.ErrRefused)
	}})
	s := runSite(t, dir)
	require.NoError(t, s.open())
	_, err := s.CreateScaleSet(t.Context(), client.NamedScaleSet{Name: "small", ScaleSetSpec: client.ScaleSetSpec{
		Labels: []string{"small"}, Image: "evil:1", CPU: 1, Memory: 1 << 20, Max: 1, Hosts: []string{hosts.LocalName},
	}})
	require.NoError(t, err)
	job, err := s.Submit(t.Context(), client.JobSpec{Labels: []string{"small"}, Run: "true"}, "")
	require.NoError(t, err)
	eventually := func(what string, is func() bool) {
		t.Helper()
		require.Eventually(t, is, time.Minute, 20*time.Millisecond, what)
	}
	eventually("an event of the host", func() bool {
		told, _, err := s.Events(t.Context(), client.EventFilter{Kinds: []string{"host-backing-off"}})
		return err == nil && len(told) == 1 && told[0].Object == "host/"+hosts.LocalName &&
			strings.HasPrefix(told[0].Text, "launches of scale set small wait there") && strings.Contains(told[0].Text, "image evil:1 is not allowed")
	})
	eventually("the job says why, and when it is tried again", func() bool {
		why, err := s.Waiting(t.Context(), job.ID)
		return err == nil && why.Code == "failing" && strings.Contains(why.Text, "image evil:1 is not allowed") && strings.Contains(why.Text, "; tried again in ")
	})
	eventually("so does its scale set", func() bool {
		set, err := s.ScaleSet(t.Context(), "small")
		return err == nil && set.Status.Condition == "failing" && set.Status.RetryAt != nil && set.Status.RetryAt.After(time.Now().Add(-time.Minute))
	})
	ended, _, err := s.Events(t.Context(), client.EventFilter{Kinds: []string{"runner"}})
	require.NoError(t, err)
	require.Empty(t, ended)
}
