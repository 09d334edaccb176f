package shipfoxapi

import (
	"sync"
	"time"
)

// limiter counts calls per key in windows of a minute, as the Shipfox API does:
// the windows begin with the minutes of the clock.
type limiter struct {
	mu     sync.Mutex
	window int64
	counts map[string]int
}

const limitWindow = time.Minute

func newLimiter() *limiter { return &limiter{counts: map[string]int{}} }

// allow counts one call, or says after how long to try again.
func (l *limiter) allow(key string, limit int, now time.Time) (retry time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if window := now.UnixNano() / int64(limitWindow); window != l.window {
		l.window, l.counts = window, map[string]int{}
	}
	if l.counts[key] >= limit {
		end := time.Unix(0, (l.window+1)*int64(limitWindow))
		return end.Sub(now), false
	}
	l.counts[key]++
	return 0, true
}
