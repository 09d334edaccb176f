package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/queue"
)

// frameTime is how often the table is painted when nothing changes.
const frameTime = 120 * time.Millisecond

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// animate paints until the show is closed.
func (s *show) animate() {
	ticks := time.NewTicker(frameTime)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			s.mu.Lock()
			s.frame++
			if s.painted > 0 {
				s.write(s.erase() + s.paint())
			}
			s.mu.Unlock()
		case <-s.stop:
			return
		}
	}
}

// erase moves to the first line of the table and clears from there on.
func (s *show) erase() string {
	if s.painted == 0 {
		return ""
	}
	up := s.painted
	s.painted = 0
	return fmt.Sprintf("\x1b[%dA\x1b[J", up)
}

// paint is the table: those jobs that have not ended first, as many as there is
// room for.
func (s *show) paint() string {
	if s.screen == nil || len(s.rows) == 0 {
		return ""
	}
	width, height := s.screen.Size()
	var lines []string
	ended := 0
	for _, r := range s.rows {
		if r.state.Final() {
			ended++
		}
	}
	room := max(height-3, 1)
	for _, final := range []bool{false, true} {
		for _, r := range s.rows {
			if r.state.Final() == final && len(lines) < room {
				lines = append(lines, cut(s.tableLine(r), width-1))
			}
		}
	}
	lines = append(lines, cut(fmt.Sprintf("%d of %d jobs done", ended, len(s.rows)), width-1))
	s.painted = len(lines)
	return strings.Join(lines, "\n") + "\n"
}

func (s *show) tableLine(r row) string {
	mark := spinner[s.frame%len(spinner)]
	switch {
	case r.state == queue.StateSucceeded:
		mark = "✓"
	case r.state.Final():
		mark = "✗"
	}
	return fmt.Sprintf("%s %s [%s] %s", mark, s.prefix(r), r.labels, steps(r.state)) + tail(r)
}

// steps is the way of a job, up to where it is.
func steps(state queue.State) string {
	way := []queue.State{queue.StateQueued, queue.StateReserved, queue.StateLaunched, queue.StateRunning}
	var out []string
	for _, step := range way {
		out = append(out, string(step))
		if step == state {
			return strings.Join(out, " → ")
		}
	}
	return strings.Join(append(out, string(state)), " → ")
}

func tail(r row) string {
	if r.state == queue.StateRunning && r.last != "" {
		return "  " + printable(r.last)
	}
	return ""
}

// cut shortens text to width characters.
func cut(text string, width int) string {
	runes := []rune(text)
	if width < 1 || len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}
