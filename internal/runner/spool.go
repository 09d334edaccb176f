package runner

import (
	"fmt"
	"sync"
)

const (
	spoolSize  = 1 << 20
	maxLogRead = 32 << 10
)

// spool holds the log between the job, which writes it, and the sender. It is
// bounded: a writer waits for room, or, once cutting, loses what has no room,
// and a mark in the log says how much. One writer, one sender.
type spool struct {
	wake chan struct{} // something came, or the end
	room chan struct{} // something went, or cutting began

	mu      sync.Mutex
	buf     []byte
	cutting bool
	lost    int64
	closed  bool
}

func newSpool() *spool {
	return &spool{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// Write takes all of p, sooner or later, or loses it.
func (s *spool) Write(p []byte) (int, error) {
	for len(p) > 0 && !s.add(p) {
		<-s.room
	}
	return len(p), nil
}

// add is false when p has to wait for room.
func (s *spool) add(p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := len(s.buf)+len(p) > spoolSize
	if full && !s.cutting {
		return false
	}
	if full {
		s.lost += int64(len(p))
		return true
	}
	s.mark()
	s.buf = append(s.buf, p...)
	poke(s.wake)
	return true
}

// mark tells what was lost, if anything was, at the place where it was.
func (s *spool) mark() {
	if s.lost > 0 {
		s.buf = fmt.Appendf(s.buf, "\n[slipway: %d bytes of the log are missing here]\n", s.lost)
		s.lost = 0
	}
}

func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark()
	s.closed = true
	poke(s.wake)
}

// cut says whether the writer may lose what has no room, instead of waiting.
func (s *spool) cut(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutting = on
	if on {
		poke(s.room)
	}
}

// state is how much waits, whether the writer waits for room, and whether no
// more will come.
func (s *spool) state() (waiting int, full, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buf), len(s.buf)+maxLogRead > spoolSize, s.closed
}

// head copies at most limit bytes of what waits.
func (s *spool) head(limit int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.buf[:min(limit, len(s.buf))]...)
}

// drop forgets the first n bytes.
func (s *spool) drop(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = s.buf[:copy(s.buf, s.buf[min(n, len(s.buf)):])]
	poke(s.room)
}

// poke wakes whoever waits on c, or will.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
