package runner

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/go-hclog"
)

const maxRetryAfter = 30 * time.Second

// retry does op until it succeeds, is answered for good, or ctx ends; the error
// is then op's last that says more than that. Each try has timeout. Failures of one
// deed are told once.
func retry(ctx context.Context, log hclog.Logger, deed string, timeout time.Duration, op func(context.Context) error) error {
	pause := newPause(200*time.Millisecond, 5*time.Second)
	failures := 0
	var last error
	for {
		once, cancel := context.WithTimeout(ctx, timeout)
		err := op(once)
		cancel()
		var answer *apiError
		switch {
		case err == nil:
			if failures > 0 {
				log.Info(deed+": done", "failures", failures)
			}
			return nil
		case errors.As(err, &answer) && answer.final(), errors.Is(err, ErrNotSlipway):
			return err
		case ctx.Err() != nil && last != nil:
			return last
		case ctx.Err() != nil:
			return err
		}
		last = err
		if failures++; failures == 1 {
			log.Warn(deed+": will be tried again", "err", err)
		}
		wait := pause.NextBackOff()
		if answer != nil {
			wait = max(wait, min(answer.RetryAfter, maxRetryAfter))
		}
		if !sleep(ctx, wait) {
			return err
		}
	}
}

// newPause is a back-off with jitter that never gives up.
func newPause(first, most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(first), backoff.WithMaxInterval(most),
		backoff.WithMaxElapsedTime(0))
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
