package edge

import (
	"net/netip"
	"sync"
	"time"
)

// Failures counts failed attempts to authenticate by who makes them, in windows of
// a minute. Only what failed is counted and refused: many good clients behind one
// address are not. It may be used from many goroutines.
type Failures struct {
	limit int

	mu     sync.Mutex
	window time.Time
	counts map[string]int
}

// maxNetworks bounds one window; beyond it new addresses share a count.
const maxNetworks = 10_000

// NewFailures allows limit failures in a minute to one address, of IPv6 to one /64.
func NewFailures(limit int) *Failures { return &Failures{limit: limit, counts: map[string]int{}} }

// Add counts one failure. It returns how long the address is refused for, or 0.
func (f *Failures) Add(address string, now time.Time) time.Duration {
	from := network(address)
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.window) >= time.Minute {
		f.window, f.counts = now, map[string]int{}
	}
	if _, known := f.counts[from]; !known && len(f.counts) >= maxNetworks {
		from = ""
	}
	f.counts[from]++
	if f.counts[from] <= f.limit {
		return 0
	}
	return f.window.Add(time.Minute).Sub(now)
}

// network is what failures are counted by: whoever has one IPv6 address has the
// whole /64 (RFC 6177).
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
