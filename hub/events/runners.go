package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

// runnerInterval is how often to look where nothing hints at changes.
const runnerInterval = 15 * time.Second

// FollowRunners stores what becomes of the runners of a backend, such as a fleet,
// until ctx ends; then it returns nil. What there is at its begin was told before.
// A runner that comes and goes between two looks, seconds apart, is not told of.
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
	for id, was := range before {
		if _, there := now[id]; !there {
			l.Tell("runner-removed", "runner/"+id, "removed"+was.place)
		}
	}
	return now
}

func placeOf(r backend.Runner) string {
	text := ""
	if set := r.Labels[provisioner.LabelTemplate]; set != "" {
		text += " of scale set " + set
	}
	if r.Host != "" {
		text += " on " + r.Host
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
	case backend.Exited:
		return "runner-exited", "ended with exit code 0"
	case backend.Failed:
		text = "failed"
		if r.ExitCode != nil {
			text += fmt.Sprintf(" with exit code %d", *r.ExitCode)
		}
		if r.OOMKilled {
			text += ", out of memory"
		}
		if r.Error != "" {
			text += " (" + clean(r.Error, 300) + ")"
		}
		return "runner-failed", text
	}
	return "", ""
}
