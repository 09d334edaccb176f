package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// killed is the exit code of a process that SIGKILL ended.
const killed = 128 + 9

// oomLag is how much later than the end of a container the engine may notice that
// memory was the reason.
const oomLag = time.Second

// starved says whether a container that was killed had run out of memory. The
// engine hears of the end and of its reason on two ways: where the end came
// first, its state lacks the reason, and only its events have it.
func (b *Backend) starved(ctx context.Context, c container.InspectResponse, d detail) (bool, error) {
	limited := c.HostConfig != nil && c.HostConfig.Memory > 0
	if d.exitCode == nil || *d.exitCode != killed || d.oomKilled || !limited {
		return d.oomKilled, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// An end that lies ahead makes the engine wait for it, by its own clock.
	messages, errs := b.client.Events(ctx, events.ListOptions{
		Since:   d.started.Format(time.RFC3339Nano),
		Until:   d.finished.Add(oomLag).Format(time.RFC3339Nano),
		Filters: filters.NewArgs(filters.Arg("container", c.ID), filters.Arg("event", string(events.ActionOOM))),
	})
	select {
	case <-messages:
		return true, nil
	case err := <-errs:
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		return false, err
	}
}
