package sim

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// traceLength is how many of the last events a failure prints by default.
const traceLength = 300

// trace keeps the last events and what went wrong.
type trace struct {
	start  time.Time
	length int
	lines  []string
	next   int
	broken []string
	over   chan struct{} // closed when something first went wrong
}

func newTrace(length int) *trace {
	return &trace{start: time.Now(), length: cmp.Or(length, traceLength), over: make(chan struct{})}
}

// say adds an event.
func (t *trace) say(format string, args ...any) {
	line := fmt.Sprintf("%10.3fs ", time.Since(t.start).Seconds()) + fmt.Sprintf(format, args...)
	if len(t.lines) < t.length {
		t.lines = append(t.lines, line)
		return
	}
	t.lines[t.next] = line
	t.next = (t.next + 1) % t.length
}

// breaks records that a rule was broken.
func (t *trace) breaks(rule, format string, args ...any) {
	text := rule + ": " + fmt.Sprintf(format, args...)
	t.say("!!! %s", text)
	if len(t.broken) == 0 && rule != "deadlock" { // that is told from outside of the bubble
		close(t.over)
	}
	if len(t.broken) < 20 {
		t.broken = append(t.broken, fmt.Sprintf("at %.3fs %s", time.Since(t.start).Seconds(), text))
	}
}

// String is what went wrong and the last events.
func (t *trace) String() string {
	var b strings.Builder
	for i := range t.lines {
		fmt.Fprintln(&b, t.lines[(t.next+i)%len(t.lines)])
	}
	fmt.Fprintln(&b, strings.Join(t.broken, "\n"))
	return b.String()
}

// short is enough of an id to tell runners apart.
func short(id string) string {
	if len(id) < 8 {
		return id
	}
	return id[9:13] + "…" + id[len(id)-6:]
}
