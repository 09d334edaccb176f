package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

const (
	// waitQuietly is how long a job may wait until people are told why.
	waitQuietly = 2 * time.Second
	// waitPace is how often it is asked.
	waitPace = 3 * time.Second
)

// tellWaits says on standard error why a job waits, again where that changes, until
// it runs or stop is called.
func tellWaits(c *cobra.Command, r *remote.Hub, id string) (stop func()) {
	ctx, cancel := context.WithCancel(c.Context())
	var telling sync.WaitGroup
	telling.Go(func() {
		followWaits(ctx, r.Notices, id, func() (client.Waiting, error) { return r.Waiting(ctx, id) })
	})
	return func() {
		cancel()
		telling.Wait()
	}
}

// followWaits returns when the job waits no more, or ctx ends. What can't be asked is
// no reason for it to fail.
func followWaits(ctx context.Context, w io.Writer, id string, ask func() (client.Waiting, error)) {
	told := ""
	for pause := waitQuietly; ; pause = waitPace {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		now, err := ask()
		switch {
		case errors.Is(err, client.ErrNotFound), err == nil && now.Text == "":
			return
		case err != nil:
			continue
		}
		if reason := reasonOf(now); reason != told {
			told = reason
			_, _ = fmt.Fprintf(w, "job %s waits: %s\n", id, command.Printable(now.Text))
		}
	}
}

// reasonOf is why a job waits without the numbers, which change all the time.
func reasonOf(w client.Waiting) string {
	reason := w.Code
	for _, s := range w.ScaleSets {
		reason += " " + s.Name + "=" + s.Code
	}
	return reason
}
