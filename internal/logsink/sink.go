// Package logsink is where the programs' logs go: without tokens, and without a wait
// for whoever reads them. A pipe whose reader has stopped holds up nothing then.
package logsink

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/tokens"
)

// backlog is how much may wait for the reader, in bytes: some 20,000 lines.
const backlog = 4 << 20

// patience is how long Close waits for the reader.
const patience = time.Second

// Sink is a writer that never waits. What comes while too much waits already is
// dropped, and counted in a line of its own once there is room. It is safe for
// concurrent use; each Write is whole lines.
type Sink struct {
	out   io.Writer
	limit int

	mu      sync.Mutex
	waiting []byte
	dropped int
	closed  bool
	more    chan struct{} // of one: something waits, or Close was called
	ended   chan struct{} // closed when nothing is written any more
}

// New makes a sink over out, which Close does not close.
func New(out io.Writer) *Sink { return newSink(out, backlog) }

func newSink(out io.Writer, limit int) *Sink {
	s := &Sink{out: out, limit: limit, more: make(chan struct{}, 1), ended: make(chan struct{})}
	go s.pump()
	return s
}

// Write takes lines over, or drops them. It returns no error: there is nobody to tell.
func (s *Sink) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case len(s.waiting)+len(lines) > s.limit:
		s.dropped++
	default:
		s.waiting = append(s.waiting, lines...)
		s.poke()
	}
	return len(lines), nil
}

func (s *Sink) poke() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Close waits until all is written, or for a second. What is written afterwards is
// dropped.
func (s *Sink) Close() {
	s.mu.Lock()
	s.closed = true
	s.poke()
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
	}
}

// pump writes what waits. Errors of the output are nobody's: it is tried again with
// the next line.
func (s *Sink) pump() {
	defer close(s.ended)
	for {
		lines, over := s.take()
		if len(lines) > 0 {
			_, _ = s.out.Write(lines)
			continue
		}
		if over {
			return
		}
		<-s.more
	}
}

// take is all that waits, with a line of what was dropped behind it; over says that
// nothing will follow.
func (s *Sink) take() (lines []byte, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, s.waiting = s.waiting, nil
	if s.dropped > 0 {
		lines = fmt.Appendf(lines, "{\"@level\":\"warn\",\"@message\":\"lines of the log were dropped: nobody read it\",\"@timestamp\":%q,\"count\":%d}\n",
			time.Now().Format(time.RFC3339Nano), s.dropped)
		s.dropped = 0
	}
	return lines, s.closed
}

// Clean is out without the tokens of what is written to it: a line of the log is one
// write.
func Clean(out io.Writer) io.Writer { return clean{out} }

type clean struct{ io.Writer }

func (c clean) Write(line []byte) (int, error) {
	if _, err := io.WriteString(c.Writer, tokens.Redact(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}
