package demo

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
)

type fixed struct{ width, height int }

func (f fixed) Size() (int, int) { return f.width, f.height }

var twoJobs = []queue.Job{
	{Name: "greet", Labels: []string{"demo", "small"}, State: queue.StateQueued},
	{Name: "count-2", Labels: []string{"large"}, State: queue.StateQueued},
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	s := newShow(Config{Out: &out})
	s.say("backend %s", "process\x1b[2J")
	s.jobs(twoJobs)
	s.state(0, queue.StateReserved, "")
	s.state(1, queue.StateQueued, "reservation expired\x1b")
	s.line(0, "hello\x1b]0;title\x07 \xff\tworld")
	s.state(0, queue.StateSucceeded, "succeeded, exit code 0")
	require.NoError(t, s.close())
	require.Equal(t, strings.Join([]string{
		"demo: backend process[2J",
		"greet     reserved",
		"count-2   queued (reservation expired)",
		"greet   | hello]0;title ? world",
		"greet     succeeded, exit code 0",
		"",
	}, "\n"), out.String())
}

// A screen is what a terminal of this size would show, as far as the table uses it.
func screen(t *testing.T, text string) []string {
	t.Helper()
	var lines []string
	row := 0
	for text != "" {
		var n int
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexAny(rest, "AJ")
			require.GreaterOrEqual(t, end, 0, "an unknown sequence")
			if rest[end] == 'A' {
				for _, c := range rest[:end] {
					n = n*10 + int(c-'0')
				}
				row -= n
				require.GreaterOrEqual(t, row, 0)
			} else {
				lines = lines[:row]
			}
			text = rest[end+1:]
			continue
		}
		line, rest, _ := strings.Cut(text, "\n")
		lines = append(lines[:row], line)
		row++
		text = rest
	}
	return lines
}

func TestTheTableStaysBelowTheLines(t *testing.T) {
	var out bytes.Buffer
	s := newShow(Config{Out: &out, Screen: fixed{60, 24}})
	s.say("one")
	s.jobs(twoJobs)
	s.state(0, queue.StateRunning, "")
	s.line(0, "two")
	lines := func() []string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return screen(t, out.String())
	}()
	require.Len(t, lines, 6)
	require.Equal(t, []string{"demo: one", "greet     running", "greet   | two"}, lines[:3])
	require.Regexp(t, `^. greet    \[demo,small\] queued → reserved → launched → run…$`, lines[3])
	require.Regexp(t, `^. count-2  \[large\] queued$`, lines[4])
	require.Equal(t, "0 of 2 jobs done", lines[5])

	s.state(0, queue.StateSucceeded, "succeeded")
	require.NoError(t, s.close())
	require.Equal(t, "greet     succeeded", screen(t, out.String())[3])
	require.Len(t, screen(t, out.String()), 4, "the table is gone at the end")
}

func TestASmallScreenShowsWhatStillRuns(t *testing.T) {
	var out bytes.Buffer
	s := newShow(Config{Out: &out, Screen: fixed{80, 4}})
	s.jobs(twoJobs)
	s.state(0, queue.StateSucceeded, "succeeded")
	s.mu.Lock()
	lines := screen(t, out.String())
	s.mu.Unlock()
	require.Len(t, lines, 3)
	require.Contains(t, lines[1], "count-2")
	require.Equal(t, "1 of 2 jobs done", lines[2])
	require.NoError(t, s.close())
}

type brokenPipe struct{ error }

func (b brokenPipe) Write([]byte) (int, error) { return 0, b.error }

func TestAReaderThatIsGoneEndsIt(t *testing.T) {
	s := newShow(Config{Out: brokenPipe{errors.New("broken pipe")}})
	ended := 0
	s.broken = func(error) { ended++ }
	s.say("x")
	s.say("y")
	require.Equal(t, 1, ended)
	require.ErrorIs(t, s.close(), errNoReader)
}
