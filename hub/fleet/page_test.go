package fleet

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
)

// everyState is a fleet with a runner in every state on a host in every state, and
// how many of them a list tells.
func everyState(t *testing.T) (f *Fleet, listed int) {
	t.Helper()
	f = benchFleet(t, 5, 0)
	away := func(h *host, d time.Duration) { h.session, h.ready, h.since = nil, false, time.Now().Add(-d) }
	away(f.order[1], time.Minute)
	away(f.order[2], time.Hour) // lost
	f.order[3].ready = false    // blind
	n := 0
	add := func(h *host, change func(*record)) {
		n++
		template := fmt.Sprint("template-", n%3)
		r := newRecord(fmt.Sprintf("%02d", n*37%100), h, map[string]string{provisioner.LabelTemplate: template}, placement.Share{})
		change(r)
		f.put(r)
		if r.known() {
			listed++
		}
	}
	for _, h := range f.order {
		for _, state := range []backend.State{backend.Starting, backend.Running, backend.Stopping, backend.Exited, backend.Failed, backend.Unknown} {
			add(h, func(r *record) {
				r.seen = &wire.Runner{ID: r.id, State: state, ExitCode: new(3), Error: "words", Created: time.Unix(1, 0), Finished: time.Unix(2, 0)}
			})
		}
		add(h, func(r *record) { r.stored = true })    // not seen since the hub started
		add(h, func(r *record) { r.uncertain = true }) // told to nobody
		add(h, func(r *record) { r.absent = time.Now().Add(-2 * absentFor) })
	}
	return f, listed
}

// Whoever reads one runner, a page or the counts must see what List tells: in every
// state of the host and of the runner, in whatever order they came.
func TestPageRunnerAndCountsAgreeWithList(t *testing.T) {
	f, listed := everyState(t)
	ctx := t.Context()
	listing, err := f.List(ctx)
	require.NoError(t, err)
	require.Len(t, listing.Runners, listed, "the test is of every runner that is told")
	all := listing.Runners
	slices.Reverse(all)

	counts := map[string]map[backend.State]int{}
	states := map[backend.State]bool{"": true}
	for _, r := range all {
		got, host, ok := f.Runner(ctx, r.ID)
		require.True(t, ok)
		require.Equal(t, r, got)
		require.Equal(t, r.Host, host, "a host without a name has its id")
		template := r.Labels[provisioner.LabelTemplate]
		if counts[template] == nil {
			counts[template] = map[backend.State]int{}
		}
		counts[template][r.State]++
		states[r.State] = true
	}
	counted, err := f.CountByTemplate(ctx)
	require.NoError(t, err)
	require.Equal(t, counts, counted)

	for _, host := range []string{"", "host-0000", "host-0001", "host-0002", "host-0003", "nowhere"} {
		for _, template := range []string{"", "template-0", "template-1", "none"} {
			for state := range states {
				for _, before := range []string{"", "00", "50", all[7].ID, "zz"} {
					for _, limit := range []int{0, 1, 3} {
						agrees(t, f, all, RunnerFilter{Host: host, Template: template, State: state, Before: before, Limit: limit})
					}
				}
			}
		}
	}
}

// agrees compares a page with what it is to be, of all that List tells.
func agrees(t *testing.T, f *Fleet, all []backend.Runner, filter RunnerFilter) {
	t.Helper()
	want := []PlacedRunner{}
	for _, r := range all {
		if (filter.Host == "" || filter.Host == r.Host) && (filter.Template == "" || filter.Template == r.Labels[provisioner.LabelTemplate]) &&
			(filter.State == "" || filter.State == r.State) && (filter.Before == "" || r.ID < filter.Before) {
			want = append(want, PlacedRunner{r, r.Host})
		}
	}
	limit := filter.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	page, more, err := f.Page(t.Context(), filter)
	require.NoError(t, err)
	require.Equal(t, len(want) > limit, more, "%+v", filter)
	require.Equal(t, want[:min(limit, len(want))], page, "%+v", filter)
}

// What is answered is the caller's own: the fleet shares nothing that it may change.
func TestPageGivesNothingOfItsOwnAway(t *testing.T) {
	f, _ := everyState(t)
	page, _, err := f.Page(t.Context(), RunnerFilter{State: backend.Exited})
	require.NoError(t, err)
	page[0].Labels["x"], *page[0].ExitCode = "y", 99
	again, _, ok := f.Runner(t.Context(), page[0].ID)
	require.True(t, ok)
	require.Equal(t, 3, *again.ExitCode)
	require.NotContains(t, again.Labels, "x")
}

func TestPageOfAFleetThatDoesNotRun(t *testing.T) {
	f, _ := everyState(t)
	f.open = false
	_, _, err := f.Page(t.Context(), RunnerFilter{})
	require.ErrorIs(t, err, backend.ErrUnavailable)
	_, err = f.CountByTemplate(t.Context())
	require.ErrorIs(t, err, backend.ErrUnavailable)
	_, _, ok := f.Runner(t.Context(), "01")
	require.False(t, ok)

	f.open = true
	_, _, ok = f.Runner(t.Context(), "no such runner")
	require.False(t, ok)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = f.Page(gone, RunnerFilter{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = f.CountByTemplate(gone)
	require.ErrorIs(t, err, context.Canceled)
}
