// Package leasebook knows when each live lease was last renewed, by the clock that
// never jumps, and answers renewals: a renewal reads no disk and writes none.
//
// Nothing of it is stored, and nothing need be: after a restart of the hub every
// lease that had not ended gets a full life first, which is never less than what was
// left of it. The promise that it keeps: a lease is given out as lapsed only TTL +
// Grace after the last renewal that it granted, and renews no more from then on.
package leasebook

import (
	"sync"
	"time"
)

// Config says how long leases live; all three are needed.
type Config struct {
	// TTL is how long a runner may go without a renewal.
	TTL time.Duration
	// Grace is added to TTL before a lease is lapsed, so that its runner has ended by
	// then by its own clock.
	Grace time.Duration
	// TimeoutGrace is how long after a job's timeout its lease is still renewed.
	TimeoutGrace time.Duration
}

// Book is all live leases. Its methods may be called from many goroutines.
type Book struct {
	cfg Config

	mu     sync.Mutex
	leases map[string]*clock
}

// clock is one live lease.
type clock struct {
	// renewed is when it was last renewed, or granted.
	renewed time.Time
	// until is when renewals end: the job's timeout and a grace.
	until time.Time
	// cancel: the runner is to end the job.
	cancel bool
	// refused: nobody can use it, though it has not ended.
	refused bool
	// overtime: a renewal was refused since until has passed.
	overtime bool
	// ending: it is being ended; no renewal may come between.
	ending bool
}

// New makes an empty book.
func New(cfg Config) *Book { return &Book{cfg: cfg, leases: map[string]*clock{}} }

// Add notes a new lease whose job has so much time left, and says when it ends if
// nobody renews it.
func (b *Book) Add(id string, left time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.leases[id] = &clock{renewed: now, until: now.Add(left + b.cfg.TimeoutGrace)}
	return now.Add(b.cfg.TTL + b.cfg.Grace)
}

// Remove forgets a lease, which has ended.
func (b *Book) Remove(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.leases, id)
}

// Refuse renews a lease no more, and lets it run out.
func (b *Book) Refuse(id string) { b.change(id, func(c *clock) { c.refused = true }) }

// Cancel has renewals ask the runner to end its job.
func (b *Book) Cancel(id string) { b.change(id, func(c *clock) { c.cancel = true }) }

func (b *Book) change(id string, do func(*clock)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.leases[id]; c != nil {
		do(c)
	}
}

// Renew says whether the lease lives on, and whether its runner is to end the job.
func (b *Book) Renew(id string) (cancel, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.leases[id]
	now := time.Now()
	if c == nil || c.ending || c.refused {
		return false, false
	}
	if now.After(c.until) {
		c.overtime = true
		return false, false
	}
	c.renewed = now
	return c.cancel, true
}

// RenewedAt is when a lease was last renewed, or granted; zero: it has ended.
func (b *Book) RenewedAt(id string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.leases[id]; c != nil {
		return c.renewed
	}
	return time.Time{}
}

// Lapsed is a lease that was not renewed.
type Lapsed struct {
	// ID is the lease's.
	ID string
	// Overtime: its job had run past its timeout, so renewals were refused.
	Overtime bool
}

// ClaimLapsed returns the leases that ran out, and from here on renews them no
// more; who gets them ends them, or calls Revive. next is when the next one can
// run out; zero: there is none.
func (b *Book) ClaimLapsed() (out []Lapsed, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for id, c := range b.leases {
		end := c.renewed.Add(b.cfg.TTL + b.cfg.Grace)
		switch {
		case c.ending:
		case !now.Before(end):
			c.ending = true
			out = append(out, Lapsed{ID: id, Overtime: c.overtime})
		case next.IsZero() || end.Before(next):
			next = end
		}
	}
	return out, next
}

// Revive takes ClaimLapsed back, for leases whose end could not be stored.
func (b *Book) Revive(leases []Lapsed) {
	for _, l := range leases {
		b.change(l.ID, func(c *clock) { c.ending = false })
	}
}
