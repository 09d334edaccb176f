package events

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

// runnerInterval is how often to look where nothing hints at changes.
const runnerInterval = 15 * time.Second

// FollowRunners stores what becomes of the runners of a backend, such as a fleet,
// until ctx ends; then it returns nil. What there is at its begin was told before.
// How runners end is told by Ended: who launched them knows why. A runner that comes
// and goes between two looks, seconds apart, is told of by that alone.
func (l *Log) FollowRunners(ctx context.Context, b backend.Backend) error {
	changed := make(chan struct{}, 1)
	var watching sync.WaitGroup
	watching.Go(func() { l.watchRunners(ctx, b, changed) })
	defer watching.Wait()
	tick := time.NewTicker(runnerInterval)
	defer tick.Stop()
	var before roster
	for {
		listing, err := b.List(ctx)
		switch {
		case err == nil:
			before = l.tellRunners(before, listing.Runners)
		case ctx.Err() == nil:
			l.cfg.Logger.Debug("list runners for their events", "err", err)
		}
		if !rest(ctx, l.cfg.RunnerPace) {
			return nil
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// watchRunners passes on the hints of a backend, while it gives any.
func (l *Log) watchRunners(ctx context.Context, b backend.Backend, changed chan<- struct{}) {
	for {
		err := backend.Watch(ctx, b, func() {
			select {
			case changed <- struct{}{}:
			default: // it was told already
			}
		})
		if errors.Is(err, errors.ErrUnsupported) || !rest(ctx, l.cfg.RunnerPace) {
			return
		}
	}
}

// rest waits, and says whether to go on.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// roster is the last known state of each runner. Nil: nothing was looked at yet.
type roster map[string]sighting

type sighting struct {
	state backend.State
	place string // for people
}

// tellRunners tells what has changed, and returns what there is now.
func (l *Log) tellRunners(before roster, runners []backend.Runner) roster {
	now := make(roster, len(runners))
	for _, r := range runners {
		was, known := before[r.ID]
		is := sighting{state: r.State, place: placeOf(r)}
		if r.State == backend.Unknown && known {
			is = was // its host is away, which is told of the host
		}
		now[r.ID] = is
		if before == nil || known && is.state == was.state {
			continue
		}
		if kind, text := becameOf(r, known, was.state); kind != "" {
			l.Tell(kind, "runner/"+r.ID, text+is.place)
		}
	}
	return now
}

// endings are the kinds of events for how a runner ended: by itself, well or not, or
// by us. Each runner has one of them.
var endings = map[provisioner.EventState]string{
	provisioner.EventStopped: "runner-exited", provisioner.EventFailed: "runner-failed", provisioner.EventTerminated: "runner-removed",
}

// ends are those kinds.
var ends = slices.Collect(maps.Values(endings))

// Ended stores how a runner ended and why, soon: for provisioner.Config.Ended. It
// never waits.
func (l *Log) Ended(e provisioner.End) {
	l.Tell(endings[e.State], "runner/"+e.Runner, e.String()+place(e.Template, e.Host))
}

func placeOf(r backend.Runner) string { return place(r.Labels[provisioner.LabelTemplate], r.Host) }

func place(scaleSet, host string) (text string) {
	if scaleSet != "" {
		text += ", of scale set " + scaleSet
	}
	if host != "" {
		text += " on " + host
	}
	return text
}

// becameOf is what a change of state means; no kind: nothing to tell.
func becameOf(r backend.Runner, known bool, was backend.State) (kind, text string) {
	switch r.State {
	case backend.Starting, backend.Running:
		switch {
		case !known:
			return "runner-started", "started"
		case was.Ended():
			return "runner-back", "is there again"
		}
	case backend.Stopping:
		return "runner-stopping", "stopping"
	}
	return "", ""
}
