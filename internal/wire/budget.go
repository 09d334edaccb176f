package wire

import (
	"sync"
	"time"
)

// The bytes that are taken from one peer: who sends more is read from no faster,
// since to decode them costs more than to send them. A full list and some logs fit
// into what may come at once.
const (
	bytesBurst  = 64 << 20
	bytesPerSec = 8 << 20
)

// Budget is how many bytes a peer may still send at once. A link has its own, unless
// those of one peer share one: then it gains nothing by coming again.
type Budget struct {
	mu   sync.Mutex
	left float64
	at   time.Time
}

// NewBudget makes a budget that is full.
func NewBudget() *Budget { return &Budget{left: bytesBurst, at: time.Now()} }

// spend takes n bytes, and waits while more are taken than there are, or until the
// link is done.
func (b *Budget) spend(n int, done <-chan struct{}) {
	b.mu.Lock()
	now := time.Now()
	b.left = min(bytesBurst, b.left+now.Sub(b.at).Seconds()*bytesPerSec) - float64(n)
	b.at = now
	debt := -b.left
	b.mu.Unlock()
	if debt <= 0 {
		return
	}
	timer := time.NewTimer(time.Duration(debt / bytesPerSec * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}

// Share has the link spend of a budget that it does not have alone. It is called
// before Run.
func (l *Link) Share(b *Budget) { l.budget = b }
