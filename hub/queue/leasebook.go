package queue

import (
	"sync"
	"time"
)

// leaseBook knows when the live leases were last renewed, by the clock that never
// jumps. It is in memory alone: a renewal costs no write, and a restart gives
// every lease a full life.
type leaseBook struct {
	ttl, grace, timeoutGrace time.Duration

	mu     sync.Mutex
	leases map[string]*leaseClock
}

// leaseClock is one live lease.
type leaseClock struct {
	// renewed is when it was last renewed, or granted.
	renewed time.Time
	// until is when renewals end: the job's timeout and a grace.
	until time.Time
	// overtime: a renewal was refused since until has passed.
	overtime bool
	// ending: it is being ended; no renewal may come between.
	ending bool
}

func newLeaseBook(cfg Config) *leaseBook {
	return &leaseBook{
		ttl: cfg.LeaseTTL, grace: cfg.LeaseGrace, timeoutGrace: cfg.TimeoutGrace,
		leases: map[string]*leaseClock{},
	}
}

// add notes a new lease whose job has so much time left, and says when it ends if
// nobody renews it.
func (b *leaseBook) add(id string, left time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.leases[id] = &leaseClock{renewed: now, until: now.Add(left + b.timeoutGrace)}
	return now.Add(b.ttl + b.grace)
}

func (b *leaseBook) remove(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.leases, id)
}

// renew says whether the lease lives on.
func (b *leaseBook) renew(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	clock := b.leases[id]
	now := time.Now()
	if clock == nil || clock.ending {
		return false
	}
	if now.After(clock.until) {
		clock.overtime = true
		return false
	}
	clock.renewed = now
	return true
}

func (b *leaseBook) renewedAt(id string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if clock := b.leases[id]; clock != nil {
		return clock.renewed
	}
	return time.Time{}
}

// lapsed is a lease that was not renewed.
type lapsed struct {
	id string
	// overtime: its job had run past its timeout, so renewals were refused.
	overtime bool
}

// claimLapsed returns the leases that ran out, and from here on renews them no
// more; who gets them ends them, or calls revive. next is when the next one can
// run out; zero: there is none.
func (b *leaseBook) claimLapsed() (out []lapsed, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for id, clock := range b.leases {
		end := clock.renewed.Add(b.ttl + b.grace)
		switch {
		case clock.ending:
		case !now.Before(end):
			clock.ending = true
			out = append(out, lapsed{id: id, overtime: clock.overtime})
		case next.IsZero() || end.Before(next):
			next = end
		}
	}
	return out, next
}

// revive takes claimLapsed back, for leases whose end could not be stored.
func (b *leaseBook) revive(leases []lapsed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range leases {
		if clock := b.leases[l.id]; clock != nil {
			clock.ending = false
		}
	}
}
