package fleetcmd

import (
	"context"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/hub/client"
)

// pace is the time between two looks at what is waited for.
var pace = 2 * time.Second

// until looks until look says that it is done, through outages of the hub.
func until(ctx context.Context, look func() (done bool, err error)) error {
	for {
		var done bool
		err := client.Patiently(ctx, func() (err error) {
			done, err = look()
			return err
		})
		if err != nil || done {
			return err
		}
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errTimeout is the cause of a wait that --timeout ended.
var errTimeout = errors.New("timeout")

// limited bounds a wait; 0: for ever.
func limited(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, errTimeout)
}
