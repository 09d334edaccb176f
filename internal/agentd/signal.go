package agentd

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

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
