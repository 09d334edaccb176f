package runner

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// lease is the hold on the job. It is renewed until keep's ctx ends.
type lease struct {
	api   *client
	log   hclog.Logger
	jobID string

	mu      sync.Mutex
	token   string
	granted time.Time // when the last renewal that succeeded was sent
	every   time.Duration
	ttl     time.Duration
	changed chan struct{}
}

func newLease(api *client, log hclog.Logger, c claim) *lease {
	return &lease{api: api, log: log, jobID: c.JobID, token: c.Lease, granted: c.asked,
		every: 10 * time.Second, ttl: 90 * time.Second, changed: make(chan struct{}, 1)}
}

// current is the newest token of the lease.
func (l *lease) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

// set takes over what the hub asks for; what is not positive stays.
func (l *lease) set(every, ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if every > 0 {
		l.every = every
	}
	if ttl > 0 {
		l.ttl = ttl
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// next is when to renew and when the lease runs out.
func (l *lease) next() (renew, end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.granted.Add(l.every), l.granted.Add(l.ttl)
}

// keep renews the lease until ctx ends. It calls end with the reason why the job
// must not go on: errCancelled (and goes on to renew, until the job ended),
// errLeaseEnded or errLeaseLost (and returns).
func (l *lease) keep(ctx context.Context, end func(error)) {
	pause := newPause(500*time.Millisecond, 5*time.Second)
	failures := 0
	for {
		at, lost := l.next()
		if failures > 0 {
			at = time.Now().Add(pause.NextBackOff())
		}
		if at.After(lost) {
			at = lost
		}
		if !l.waitUntil(ctx, at, failures == 0) {
			return
		}
		if at, lost = l.next(); !time.Now().Before(lost) {
			l.log.Error("lease lost", "failures", failures)
			end(errLeaseLost)
			return
		}
		if failures == 0 && time.Now().Before(at) {
			continue // the interval changed
		}
		switch err := l.renew(ctx, lost, end); {
		case err == nil:
			failures = 0
			pause.Reset()
		case isStatus(err, http.StatusNotFound, http.StatusConflict, http.StatusGone):
			end(errLeaseEnded)
			return
		default:
			if failures++; failures == 1 && ctx.Err() == nil {
				l.log.Warn("renew lease: will be tried again", "err", err)
			}
		}
	}
}

// waitUntil is false when ctx ended. With wake it ends early on a change.
func (l *lease) waitUntil(ctx context.Context, at time.Time, wake bool) bool {
	changed := l.changed
	if !wake {
		changed = nil
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *lease) renew(ctx context.Context, lost time.Time, end func(error)) error {
	sent := time.Now()
	ctx, cancel := context.WithDeadline(ctx, earlier(sent.Add(callTimeout), lost))
	defer cancel()
	var answer struct {
		Cancel bool   `json:"cancel"`
		Lease  string `json:"lease_token"`
	}
	if err := l.api.call(ctx, http.MethodPost, "runners/jobs/"+l.jobID+"/heartbeat", l.current(), nil, &answer); err != nil {
		return err
	}
	l.mu.Lock()
	l.granted = sent
	if answer.Lease != "" {
		l.token = answer.Lease
	}
	l.mu.Unlock()
	if answer.Cancel {
		end(errCancelled)
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
