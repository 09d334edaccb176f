package agentd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/tokens"
)

// agent is the configuration of the next agent. The caller holds the lock.
func (p *program) agent() agent.Config {
	c := agent.Config{
		Hub: p.config.Hub, InsecureHTTP: p.config.InsecureHTTP, TLS: p.tls,
		ID: p.who.Agent, Engine: p.engineID, Version: p.version(), Backend: p.engine,
		Token: p.token, Accepted: p.accepted, Refused: p.refused, Removed: p.gone,
		Facts: p.tell(p.facts), Look: p.look, Stats: p.stats, Update: p.update,
		Logger: p.log.Named("session"),
	}
	if p.keys != nil {
		c.Rotate = p.keys.Rotate
	}
	return c
}

// token is asked before each connection: so there is none now.
func (p *program) token() tokens.Token {
	p.mu.Lock()
	if p.connected {
		p.connected, p.since = false, time.Now()
		poke(p.moved)
	}
	if p.keys != nil {
		p.stored, _ = p.folder.Token() // the keyring tells what is wrong
	}
	p.mu.Unlock()
	if p.keys == nil {
		return p.config.LocalToken
	}
	return p.keys.Token()
}

func (p *program) accepted(token tokens.Token) {
	p.mu.Lock()
	p.connected, p.since, p.removed, p.out = true, time.Now(), false, tokens.Token{}
	p.sessions++
	p.mu.Unlock()
	if p.keys != nil {
		p.keys.Accepted(token)
	}
	p.updater.Welcomed()
	poke(p.moved)
	notify("STATUS=connected to " + p.config.Hub)
}

func (p *program) refused(token tokens.Token) {
	p.mu.Lock()
	p.out = p.stored
	p.mu.Unlock()
	poke(p.moved)
	if p.keys != nil {
		p.keys.Refused(token)
	}
	notify("STATUS=refused by " + p.config.Hub)
}

// gone is told that the hub has removed this host. Nothing is started any more,
// since no session comes; what has ended is removed, and what runs may go on.
func (p *program) gone(ctx context.Context) {
	p.mu.Lock()
	p.removed, p.connected, p.since = true, false, time.Now()
	p.mu.Unlock()
	poke(p.moved)
	p.log.Error("the hub has removed this host: nothing is started here any more. To come back, enrol anew. To remove all that is left, " + p.config.farewell(ourSupervisor()))
	notify("STATUS=removed from " + p.config.Hub)
	p.clear(ctx)
}

// clearTimeout bounds one removal of what has ended, and clearTicks is how many
// ticks lie between two.
const (
	clearTimeout = time.Minute
	clearTicks   = 12
)

// clear removes what has ended.
func (p *program) clear(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	if err := p.engine.RemoveEnded(ctx); err != nil {
		p.log.Warn("remove ended runners", "err", tokens.Redact(err.Error()))
	}
}

// leave goes on to remove what ends on a host that the hub has removed: nobody else
// does.
func (p *program) leave(ctx context.Context) {
	ticker := time.NewTicker(clearTicks * p.config.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		removed := p.removed
		p.mu.Unlock()
		if removed {
			p.clear(ctx)
		}
	}
}

// update does what the hub orders, and restarts a moment after the answer.
func (p *program) update(ctx context.Context, version string) error {
	if err := p.updater.Stage(ctx, version); err != nil {
		return err
	}
	poke(p.staged)
	return nil
}

// restartGrace is how long a restart waits at most for launches that are under way,
// and answerTime how long it waits for the hub's answer to leave.
const (
	restartGrace = 15 * time.Second
	answerTime   = time.Second
)

// restartStaged restarts into a version that was fetched.
func (p *program) restartStaged(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-p.staged:
	}
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	for begun := time.Now(); ; timer.Reset(answerTime / 10) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if p.engine.UnderWay() == 0 || time.Since(begun) > restartGrace {
			p.end(p.restart("an update was fetched"))
			return
		}
	}
}

// tell puts facts into the hub's words.
func (p *program) tell(f docker.Facts) agent.Facts {
	out := agent.Facts{
		OS: f.OS, Arch: f.Arch, CPUs: f.CPUs, Memory: f.Memory, Runtimes: f.Runtimes, EngineVersion: f.Version,
		MaxRunners: p.rules.MaxRunners(),
		Hints:      map[string]string{"backend": p.config.Backend},
	}
	for _, g := range f.GPUs {
		out.GPUs = append(out.GPUs, agent.GPU(g))
	}
	if f.DefaultRuntime != "" {
		out.Hints["default_runtime"] = f.DefaultRuntime
	}
	if why := p.updater.Forbidden(); why != "" {
		out.UpdateForbidden, out.Hints["update_forbidden"] = true, why
	}
	if problem := p.updater.Problem(); problem != "" {
		out.Hints["update_problem"] = problem
	}
	out.Disk = p.engine.Disk(f)
	return out
}

// look tells the facts as they are. Where the engine is down they are those that it
// told last.
func (p *program) look(ctx context.Context) (agent.Facts, error) {
	p.refresh(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tell(p.facts), nil
}

// factsTimeout bounds one question to the engine.
const factsTimeout = 10 * time.Second

// refresh asks the engine about itself. When it tells another id than the hub was
// told, the session begins anew.
func (p *program) refresh(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	facts, err := p.engine.Facts(limited)
	if err != nil {
		p.log.Debug("the engine tells nothing of itself", "err", tokens.Redact(err.Error()))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.facts, p.known = facts, true
	if facts.EngineID == p.engineID {
		return
	}
	p.log.Info("the engine's id", "engine", facts.EngineID, "before", p.engineID)
	p.engineID = facts.EngineID
	if err := p.folder.SawEngine(facts.EngineID); err != nil {
		p.log.Warn("the engine's id can't be kept", "err", err)
	}
	if p.rebuild != nil {
		p.rebuild(errEngine)
	}
}

// poke wakes who waits for a channel of one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watchEngine asks the engine anew when it has come back.
func (p *program) watchEngine(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.fresh:
			p.refresh(ctx)
		}
	}
}

// describe is the facts in a line, for people.
func describe(f docker.Facts) string {
	if f.EngineID == "" {
		return ""
	}
	return fmt.Sprintf("%s, id %s, runtimes %s", f.Version, f.EngineID, strings.Join(f.Runtimes, " "))
}
