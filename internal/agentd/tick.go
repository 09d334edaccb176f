package agentd

import (
	"context"
	"errors"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/slipway-ci/slipway/tokens"
)

// notify tells systemd, where it started us.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// stuck is how long no look may end until the agent counts as stuck: far more than
// one may take.
const stuck = 3 * time.Minute

// tick looks after what nobody is woken for, until ctx ends.
func (p *program) tick(ctx context.Context) {
	interval, _ := daemon.SdWatchdogEnabled(false)
	every := p.config.Tick
	if interval > 0 {
		every = min(every, interval/3)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	said := p.keepReport("")
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-p.moved:
		}
		said = p.keepReport(said)
		if interval > 0 && p.alive() {
			notify(daemon.SdNotifyWatchdog)
		}
		reap()
		if p.enrolledAnew() {
			p.end(p.restart("enrolled anew"))
			return
		}
		p.renew()
	}
}

// alive says whether the looks at the engine go on, seeing or not.
func (p *program) alive() bool {
	looked, _, _ := p.engine.Seen()
	return time.Since(looked) < stuck
}

// enrolledAnew says whether an enrolment has made this another host.
func (p *program) enrolledAnew() bool {
	if p.keys == nil {
		return false
	}
	now, err := p.folder.Identity()
	if err != nil || !now.Enrolled() || now.Same(p.who) {
		return false
	}
	p.log.Info("enrolled anew: starting as that host", "host", now.Name)
	return true
}

// errRenewed: the credential that the hub refused was replaced.
var errRenewed = errors.New("there is a new credential")

// renew ends the pause after a refusal when an enrolment has replaced the credential
// meanwhile.
func (p *program) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.IsZero() || p.rebuild == nil {
		return
	}
	if token, err := p.folder.Token(); err == nil && !token.Equal(p.out) {
		p.out = tokens.Token{}
		p.log.Info("enrolled anew: connecting with the new credential")
		p.rebuild(errRenewed)
	}
}
