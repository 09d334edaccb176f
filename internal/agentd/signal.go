package agentd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// interruptible is a context that the first interrupt ends; the second ends the
// process at once, with 128 and its number, as a shell expects. SIGHUP is none.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	received, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	hungUp := make(chan os.Signal, 1) // one that comes before run listens must not end it
	signal.Notify(hungUp, syscall.SIGHUP)
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-received:
				if n > 0 {
					_, _ = fmt.Fprintln(stderr, "interrupted twice: leaving at once")
					os.Exit(128 + int(s.(syscall.Signal)))
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(received)
		signal.Stop(hungUp)
		close(done)
		cancel()
	}
}

// hangUps has the policy read anew on SIGHUP. A policy that is sound means a start
// from the beginning, so that all of it is in force; another one changes nothing.
func (p *program) hangUps(ctx context.Context) {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGHUP)
	defer signal.Stop(received)
	for {
		select {
		case <-ctx.Done():
			return
		case <-received:
		}
		if _, err := p.config.guard(); err != nil {
			p.log.Error("the policy stays as it was", "err", err)
			continue
		}
		p.log.Info("reading the policy anew")
		p.end(p.restart("the policy is read anew"))
		return
	}
}
