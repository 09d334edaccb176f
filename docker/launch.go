package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// undoGrace is how long Launch waits, after its ctx has ended, for what was
// begun to come to an end. It goes on after that all the same.
const undoGrace = time.Second

// undoTimeout bounds the removal of a half-made container.
const undoTimeout = 10 * time.Second

// What create may miss, and can be made up for.
var (
	errNoImage   = errors.New("no such image")
	errNoNetwork = errors.New("no such network")
)

// Launch implements backend.Backend.
//
// The requests that create and start are not cut off when ctx ends, since the
// engine goes on with them anyway: what was created by then and not started is
// removed in the background, within Config.LaunchTimeout.
func (b *Backend) Launch(ctx context.Context, spec backend.Spec) error {
	if err := b.launch(ctx, spec); err != nil {
		return fmt.Errorf("launch runner %s: %w", spec.ID, err)
	}
	return nil
}

func (b *Backend) launch(ctx context.Context, spec backend.Spec) error {
	j, err := b.job(spec)
	if err != nil {
		return err
	}
	unlock, err := b.ids.lock(ctx, spec.ID)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	err = b.work.begin(ctx, closeGrace, func(own context.Context) {
		defer unlock()
		// What waits by the caller's ctx ends with the Backend too.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(own, cancel)()
		result <- b.run(ctx, own, j)
	})
	if err != nil {
		unlock()
		return fault.As(backend.ErrUnavailable, err)
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(undoGrace)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return ctx.Err()
	}
}

// run launches j. Until something is created it waits by the caller's ctx, and
// from then on by own, which ends with the Backend.
func (b *Backend) run(ctx, own context.Context, j *job) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	b.extraHosts(j.host)
	if err := b.review(ctx, j); err != nil {
		return b.turnAway(own, j, err)
	}
	leave, err := b.admit(ctx, j.spec.ID)
	if err != nil {
		return b.turnAway(own, j, err)
	}
	defer leave()
	if j.ownNetwork {
		if err := b.ensureNetwork(ctx); err != nil {
			return err
		}
	}
	if pull := b.images.Due(j.spec); pull || j.program != nil {
		if there, err := b.fetch(ctx, own, j, pull, time.Time{}); there || err != nil {
			return err
		}
	}
	looked := time.Now()
	err = b.create(ctx, own, j)
	if errors.Is(err, errNoNetwork) && j.ownNetwork {
		if err := b.remakeNetwork(ctx); err != nil {
			return err
		}
		err = b.create(ctx, own, j)
	}
	if !errors.Is(err, errNoImage) || j.spec.PullPolicy == backend.PullNever {
		return err
	}
	if there, err := b.fetch(ctx, own, j, true, looked); there || err != nil {
		return err
	}
	return b.create(ctx, own, j)
}

// fetch gets what must be there before the runner is created. A runner that is
// there already needs none of it: that one is resumed, and err is the result. missing
// is Images.Pull's.
func (b *Backend) fetch(ctx, own context.Context, j *job, pull bool, missing time.Time) (there bool, err error) {
	c, err := b.find(ctx, j.spec.ID)
	switch {
	case err == nil && b.stale(j, c):
		if err := b.discard(own, c.ID); err != nil {
			return false, err
		}
	case err == nil:
		return true, b.resume(ctx, own, j, c)
	case !gone(err):
		return false, fault.Of(ctx, err)
	}
	if pull {
		if err := b.images.Pull(ctx, j.spec, missing); err != nil {
			return false, err
		}
	}
	return false, b.locate(ctx, j)
}

// create creates the container and goes on to start it.
func (b *Backend) create(ctx, own context.Context, j *job) error {
	own, cancel := context.WithTimeout(own, b.config.LaunchTimeout)
	defer cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.launches.Add(1)
	defer b.launches.Add(-1)
	var sent fault.Call
	resp, err := b.client.ContainerCreate(sent.Trace(own), j.config, j.host, nil, j.platform, b.name(j.spec.ID))
	switch {
	case err == nil:
		for _, warning := range resp.Warnings {
			b.log.Debug("the engine warns", "runner", j.spec.ID, "warning", warning)
		}
		return b.start(ctx, own, j, resp.ID)
	case cerrdefs.IsNotFound(err) && (mentions(err, "no such image") || mentions(err, "does not match the specified platform")):
		return fault.As(backend.ErrInvalid, fmt.Errorf("%w: %w", errNoImage, err))
	case noNetwork(err):
		return fault.As(backend.ErrInvalid, fmt.Errorf("%w: %w", errNoNetwork, err))
	case cerrdefs.IsConflict(err) && mentions(err, "name"):
		return b.settle(ctx, own, j, err)
	case fault.Answered(err):
		return fault.Answer(err)
	case sent.Left():
		return b.settle(ctx, own, j, err)
	case own.Err() == nil && !client.IsErrConnectionFailed(err):
		// The client itself says that this engine can't do it.
		return fault.As(backend.ErrInvalid, err)
	}
	return fault.As(backend.ErrUnavailable, err)
}

// settle looks what there is after a create that failed with cause, of which
// nothing can be concluded.
func (b *Backend) settle(ctx, own context.Context, j *job, cause error) error {
	c, err := b.find(own, j.spec.ID)
	switch {
	case err == nil:
		return b.resume(ctx, own, j, c)
	case errors.Is(err, errNotOurs):
		return fault.As(backend.ErrRefused, fmt.Errorf("%w: %w", err, cause))
	}
	return cause
}

// resume goes on with a container that is there: what was never started is.
func (b *Backend) resume(ctx, own context.Context, j *job, c container.InspectResponse) error {
	switch {
	case c.State.Status != container.StateCreated:
		return backend.ErrExists
	case b.stale(j, c):
		j.remade = true
		if err := b.discard(own, c.ID); err != nil {
			return err
		}
		return b.create(ctx, own, j)
	}
	own, cancel := context.WithTimeout(own, b.config.LaunchTimeout)
	defer cancel()
	if err := b.locate(ctx, j); err != nil {
		return b.undo(own, c.ID, err)
	}
	return b.start(ctx, own, j, c.ID)
}

// start fills and starts the container that was created. After a caller that
// went away nothing is started.
func (b *Backend) start(ctx, own context.Context, j *job, id string) error {
	if err := b.putProgram(own, j, id); err != nil {
		return b.undo(own, id, fault.Of(own, err))
	}
	if err := ctx.Err(); err != nil {
		return b.undo(own, id, err)
	}
	err := b.client.ContainerStart(own, id, startOptions)
	if noNetwork(err) && j.ownNetwork {
		if err := b.remakeNetwork(own); err != nil {
			return b.undo(own, id, err)
		}
		err = b.client.ContainerStart(own, id, startOptions)
	}
	if err == nil {
		return nil
	}
	return b.notStarted(own, id, err)
}

// noNetwork: somebody has pruned networks. Older engines notice it at start,
// newer ones at create.
func noNetwork(err error) bool {
	return cerrdefs.IsNotFound(err) && mentions(err, "network")
}

var startOptions container.StartOptions

// notStarted finds out what became of a start that failed with cause.
func (b *Backend) notStarted(own context.Context, id string, cause error) error {
	c, err := b.client.ContainerInspect(own, id)
	switch {
	case err == nil && c.State != nil && !instant(c.State.StartedAt).IsZero():
		if fault.Answered(cause) {
			// It ran, if only for a moment: its registration may be spent.
			return cause
		}
		return nil
	case !fault.Answered(cause):
		return cause
	}
	return b.undo(own, id, fault.Answer(cause))
}

// stale says whether a half-made container is not to be finished: with a review
// only what this launch asked for is, since nobody has judged the other. What is found
// a second time is this launch's own.
func (b *Backend) stale(j *job, c container.InspectResponse) bool {
	return b.config.Review != nil && !j.remade && c.State.Status == container.StateCreated
}

// turnAway is how a launch ends that is not to be, for the reason given: with
// nothing left of an earlier one, unless that has started.
func (b *Backend) turnAway(own context.Context, j *job, reason error) error {
	c, err := b.find(own, j.spec.ID)
	switch {
	case gone(err):
		return reason
	case err != nil:
		return fmt.Errorf("%v; look for an earlier launch: %w", reason, fault.Of(own, err))
	case c.State.Status != container.StateCreated:
		return backend.ErrExists
	}
	return b.undo(own, c.ID, reason)
}

// discard removes a container that was not started. An error is not definite.
func (b *Backend) discard(own context.Context, id string) error {
	ctx, cancel := context.WithTimeout(own, undoTimeout)
	defer cancel()
	if err := b.client.ContainerRemove(ctx, id, removeAll); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove what was half made: %w", err)
	}
	return nil
}

// undo removes a container that was not started. The result is cause where it is
// gone; else nothing definite can be said, whatever cause is.
func (b *Backend) undo(own context.Context, id string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(own), undoTimeout)
	defer cancel()
	err := b.client.ContainerRemove(ctx, id, removeAll)
	if err == nil || cerrdefs.IsNotFound(err) {
		return cause
	}
	return fmt.Errorf("%v; remove what was half made: %w", cause, err)
}

func mentions(err error, words string) bool {
	return strings.Contains(strings.ToLower(err.Error()), words)
}
