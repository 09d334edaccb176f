package agentd

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// listenForHangUps keeps a SIGHUP from now on: one that comes before the policy is
// in force is answered as soon as it is.
func (p *program) listenForHangUps() (stop func()) {
	p.hungUp = make(chan os.Signal, 1)
	signal.Notify(p.hungUp, syscall.SIGHUP)
	return func() { signal.Stop(p.hungUp) }
}

// hangUps has the policy read anew on SIGHUP. A policy that is sound means a start
// from the beginning, so that all of it is in force; another one changes nothing.
func (p *program) hangUps(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.hungUp:
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
