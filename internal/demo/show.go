package demo

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/slipway-ci/slipway/hub/queue"
)

// show writes what happens: plain lines, and on a screen a table of the jobs
// below them, which is painted anew with each change.
type show struct {
	out    io.Writer
	screen Screen
	// broken is called, with the reason, when nothing can be written any more.
	broken func(error)

	mu      sync.Mutex
	rows    []row
	painted int // lines of the table on the screen now
	frame   int
	failed  error

	stop chan struct{}
	done sync.WaitGroup
}

var errNoReader = errors.New("the output can't be written")

type row struct {
	name   string
	labels string
	state  queue.State
	note   string
	last   string // of its log
}

func newShow(config Config) *show {
	s := &show{out: config.Out, screen: config.Screen, broken: func(error) {}, stop: make(chan struct{})}
	if s.screen != nil {
		s.done.Go(s.animate)
	}
	return s
}

// close takes the table off the screen; lines can be written after it.
func (s *show) close() error {
	if s.screen == nil {
		return s.err()
	}
	close(s.stop)
	s.done.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(s.erase())
	s.rows = nil
	return s.failed
}

func (s *show) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// say writes a line of the demo's own.
func (s *show) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put("demo: " + printable(fmt.Sprintf(format, args...)))
}

// jobs begins the table.
func (s *show) jobs(jobs []queue.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, job := range jobs {
		s.rows = append(s.rows, row{name: job.Name, labels: strings.Join(job.Labels, ","), state: job.State})
	}
	s.write(s.paint())
}

// state tells that a job is in a state now.
func (s *show) state(i int, state queue.State, note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.rows[i]
	r.state, r.note = state, note
	text := string(state)
	if state.Final() {
		text = note // it begins with the state
	} else if note != "" {
		text += " (" + note + ")"
	}
	s.put(s.prefix(*r) + "  " + printable(text))
}

// line tells a line of a job's log.
func (s *show) line(i int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[i].last = text
	s.put(s.prefix(s.rows[i]) + "| " + printable(text))
}

// prefix names the job, in a column.
func (s *show) prefix(r row) string {
	width := 0
	for _, other := range s.rows {
		width = max(width, len(other.name))
	}
	return fmt.Sprintf("%-*s ", width, r.name)
}

// put writes a line above the table. Called with the lock held, as what follows.
func (s *show) put(line string) {
	s.write(s.erase() + line + "\n" + s.paint())
}

func (s *show) write(text string) {
	if text == "" || s.failed != nil {
		return
	}
	if _, err := io.WriteString(s.out, text); err != nil {
		s.failed = fmt.Errorf("%w: %w", errNoReader, err)
		s.broken(s.failed)
	}
}

// printable takes control characters out: logs are the jobs' own.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
