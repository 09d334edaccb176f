package shipfox

import (
	"context"
	"sync"
	"time"
)

// A few reports in a row go at once, more of them one an interval.
const (
	reportsInARow  = 8
	reportInterval = 250 * time.Millisecond
)

// pace spaces reports.
type pace struct {
	mu  sync.Mutex
	due time.Time // of the last one, had they come evenly
}

// wait returns when it is time, or ctx ends.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	if rested := time.Now().Add(-reportsInARow * reportInterval); p.due.Before(rested) {
		p.due = rested
	}
	p.due = p.due.Add(reportInterval)
	pause := time.Until(p.due)
	p.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	return sleep(ctx, pause)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
