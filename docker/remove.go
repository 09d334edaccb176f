package docker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// removeAll takes the container with its anonymous volumes, running or not.
var removeAll = container.RemoveOptions{Force: true, RemoveVolumes: true}

// Remove implements backend.Backend: a runner that runs is asked to end, has
// Config.StopGrace for it, and is killed then.
func (b *Backend) Remove(ctx context.Context, id string) error {
	return b.removeWithin(ctx, id, b.config.StopGrace)
}

func (b *Backend) removeWithin(ctx context.Context, id string, grace time.Duration) error {
	if !canonical(id) {
		return nil // no runner of ours ever had it
	}
	// A launch of this id under way comes to its end first: what it creates after
	// our look would stay.
	unlock, err := b.ids.lock(ctx, id)
	if err == nil {
		defer unlock()
		err = b.remove(ctx, id, grace)
	}
	if err != nil {
		return fmt.Errorf("remove runner %s: %w", id, err)
	}
	return nil
}

func (b *Backend) remove(ctx context.Context, id string, grace time.Duration) error {
	c, err := b.find(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return b.unlisted(ctx, id)
	case gone(err):
		return nil
	case err != nil:
		return fault.Of(ctx, err)
	}
	if grace > 0 && c.State.Running && !c.State.Paused {
		if err := b.stop(ctx, id, c.ID, grace); err != nil {
			return err
		}
	}
	err = b.client.ContainerRemove(ctx, c.ID, removeAll)
	switch {
	case err == nil, cerrdefs.IsNotFound(err):
		return nil
	case cerrdefs.IsConflict(err) && mentions(err, "already in progress"):
		return b.awaitRemoval(ctx, c.ID)
	}
	return err
}

var errBeingMade = errors.New("the engine lists it and does not find it: it is still making it")

// unlisted makes sure that a container that the engine does not find is in no listing
// either. One that it is making is listed before it can be found, and removed (moby,
// daemon/create.go); an engine in trouble may stay so for long.
func (b *Backend) unlisted(ctx context.Context, id string) error {
	filter := b.runnerFilter()
	filter.Add("name", "^/"+regexp.QuoteMeta(b.name(id))+"$")
	summaries, err := b.client.ContainerList(ctx, container.ListOptions{All: true, Filters: filter})
	if err != nil {
		return fault.Of(ctx, err)
	}
	for _, s := range summaries {
		if one, ok := b.recognize(s); ok && one.runner.ID == id {
			return fault.As(backend.ErrUnavailable, errBeingMade)
		}
	}
	return nil
}

// stopPatience is how much longer than the grace the engine may take to stop a
// container before it is removed by force all the same.
const stopPatience = 10 * time.Second

// stop asks the runner to end and waits for it, or for the engine to have killed
// it. The only error is that of ctx: what can't be stopped is removed by force.
func (b *Backend) stop(ctx context.Context, id, container string, grace time.Duration) error {
	defer b.stopping.add(id)()
	own, cancel := context.WithTimeout(ctx, grace+stopPatience)
	defer cancel()
	seconds := int((grace + time.Second - 1) / time.Second)
	err := b.client.ContainerStop(own, container, stopOptions(seconds))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !cerrdefs.IsNotFound(err) {
		b.log.Warn("the engine did not stop the runner: it is killed", "runner", id, "err", err)
	}
	return nil
}

func stopOptions(seconds int) container.StopOptions { return container.StopOptions{Timeout: &seconds} }

// stopping are the runners that Remove has asked to end.
type stopping struct {
	mu  sync.Mutex
	ids map[string]bool
}

// add notes id until the function that it returns is called.
func (s *stopping) add(id string) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	s.ids[id] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ids, id)
	}
}

func (s *stopping) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

// awaitRemoval waits for a removal that somebody else began.
func (b *Backend) awaitRemoval(ctx context.Context, container string) error {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		_, err := b.client.ContainerInspect(ctx, container)
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// Purge removes all that this owner has on the engine: its runners, killing those
// that run, its network, and its cache volumes. Images stay. An error that is
// ErrNetworkHeld says that the network is all that is left.
func (b *Backend) Purge(ctx context.Context) error {
	listing, err := b.List(ctx)
	if err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	var errs []error
	for _, r := range listing.Runners {
		errs = append(errs, b.removeWithin(ctx, r.ID, 0))
	}
	errs = append(errs, b.purgeNetwork(ctx), b.purgeVolumes(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	return nil
}

func (b *Backend) ownerFilter() filters.Args {
	return filters.NewArgs(filters.Arg("label", b.config.Schema.Owner+"="+b.config.Owner))
}

// runnerFilter is for containers: those of owners that are adopted come along.
// The engine can't be asked for one of several values.
func (b *Backend) runnerFilter() filters.Args {
	if len(b.config.AdoptOwners) == 0 {
		return b.ownerFilter()
	}
	return filters.NewArgs(filters.Arg("label", b.config.Schema.Owner))
}

func (b *Backend) purgeVolumes(ctx context.Context) error {
	list, err := b.client.VolumeList(ctx, volume.ListOptions{Filters: b.ownerFilter()})
	if err != nil {
		return fmt.Errorf("volumes: %w", fault.Of(ctx, err))
	}
	var errs []error
	for _, v := range list.Volumes {
		if prefix := b.volumeName(""); len(v.Name) <= len(prefix) || v.Name[:len(prefix)] != prefix {
			continue
		}
		if err := b.client.VolumeRemove(ctx, v.Name, false); err != nil && !cerrdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("volume %s: %w", v.Name, err))
		}
	}
	return errors.Join(errs...)
}
