// Package signals is how Slipway's programs end: the first signal has them finish
// what is under way, the second ends them at once.
package signals

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// same is how long after the first signal others count as that one, sent again:
// timeout(1), shells and supervisors signal a program and then its process group.
const same = 500 * time.Millisecond

// Interruptible is a context that the first of the signals ends, with Interrupted
// as its cause. The second ends the process at once, after a line to stderr, with
// 128 and its number, as a shell expects; before that it does what Leaving says.
// What comes within half a second of the first is the first. Without signals these
// are the interrupt and SIGTERM.
//
// A SIGHUP that is none of them ends nothing: whoever reloads on it asks for it
// with signal.Notify, and one that comes before that is lost. The function that is
// returned puts the signals back to what they do by themselves, and ends the
// context: its cause is then Interrupted if one of them came in time, however late.
func Interruptible(stderr io.Writer, on ...os.Signal) (context.Context, func()) {
	if len(on) == 0 {
		on = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	last := &leaving{}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), leavingKey{}, last))
	received, hungUp := make(chan os.Signal, 2), make(chan os.Signal, 1)
	done, ended := make(chan struct{}), make(chan struct{})
	signal.Notify(received, on...)
	if !slices.Contains(on, os.Signal(syscall.SIGHUP)) {
		signal.Notify(hungUp, syscall.SIGHUP)
	}
	go func() {
		defer close(ended)
		var first time.Time
		for {
			select {
			case s := <-received:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel(&Interrupted{Signal: s})
				case time.Since(first) >= same:
					last.leave(stderr)
					os.Exit(exitCode(s))
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(received)
		signal.Stop(hungUp)
		close(done)
		<-ended
		select {
		case s := <-received:
			cancel(&Interrupted{Signal: s})
		default:
			cancel(nil)
		}
	})
}

// leaving is what happens on the second signal.
type leaving struct {
	mu   sync.Mutex
	last func() string
}

type leavingKey struct{}

// Leaving has the second signal call last, which must be quick, and print the line
// that it returns, if any: what is left behind then, and how to clear it away.
// There is one such function: nil, or another, takes its place. ctx is one of
// Interruptible, or made from one; with any other nothing happens.
func Leaving(ctx context.Context, last func() string) {
	if l, ok := ctx.Value(leavingKey{}).(*leaving); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.last = last
	}
}

func (l *leaving) leave(stderr io.Writer) {
	_, _ = fmt.Fprintln(stderr, "interrupted twice: leaving at once")
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if last == nil {
		return
	}
	if text := last(); text != "" {
		_, _ = fmt.Fprintln(stderr, text)
	}
}

// Interrupted is the cause of a context that a signal ended.
type Interrupted struct{ Signal os.Signal }

// Error names the signal.
func (e *Interrupted) Error() string {
	switch e.Signal {
	case syscall.SIGINT:
		return "interrupted by SIGINT"
	case syscall.SIGTERM:
		return "interrupted by SIGTERM"
	case syscall.SIGHUP:
		return "interrupted by SIGHUP"
	}
	return "interrupted by signal " + e.Signal.String()
}

func exitCode(s os.Signal) int {
	number, ok := s.(syscall.Signal)
	if !ok {
		return 1
	}
	return 128 + int(number)
}
