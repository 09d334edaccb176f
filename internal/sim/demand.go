package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// demand is one look of a poll: what there is to say now. ready says whether
// that is worth an answer, which it is when the poll's wait is over.
func (p *plane) demand(ad provisioner.Advertisement, over bool) (d provisioner.Demand, ready bool) {
	d.Grants = p.grant(ad)
	wake := over || len(d.Grants) > 0 || p.w.setup.Chatty || ad.Free() == 0 && len(p.w.setup.Levels) == 0
	for _, key := range p.w.setup.Levels {
		n := p.level(key)
		if was, ok := p.levels[key]; !ok || was != n {
			wake = true
		}
		d.Targets = append(d.Targets, provisioner.Target{Template: key, Count: n, ReadAt: time.Now()})
	}
	for _, r := range p.w.engine.sorted() {
		rec := p.records[r.id]
		if rec == nil || rec.unwanted == "" || rec.terminal != "" {
			continue
		}
		d.Facts = append(d.Facts, rec.fact())
		if !p.w.intentTold(rec.id) {
			wake = true
		}
	}
	sets, count := p.queued()
	for _, set := range sets {
		d.Stats = append(d.Stats, provisioner.Stat{Labels: set, Queued: count[strings.Join(set, ",")], Oldest: p.oldest(set)})
	}
	if wake {
		for _, t := range d.Targets {
			p.levels[t.Template] = t.Count
		}
	}
	return d, wake
}

// oldest is how long the job that came first has waited, of those with labels.
func (p *plane) oldest(labels []string) time.Duration {
	for _, j := range p.jobs {
		if j.state == jobQueued && slices.Equal(j.labels, labels) {
			return time.Since(j.queued)
		}
	}
	return 0
}

// grant reserves what is queued, within what is free.
func (p *plane) grant(ad provisioner.Advertisement) (grants []provisioner.Grant) {
	now, room := time.Now(), ad.MaxReservations
	free := map[string]int{}
	for _, s := range ad.Templates {
		free[s.Template] = s.Free
	}
	reserved := map[string]int{}
	p.open = slices.DeleteFunc(p.open, func(g *grant) bool { return !now.Before(g.expires) })
	for _, g := range p.open {
		reserved[strings.Join(g.labels, ",")] += g.open(now)
		free[g.template] -= max(0, g.count-g.minted)
	}
	sets, count := p.queued()
	for _, set := range sets {
		if _, ok := p.byLevel(set); ok {
			continue
		}
		key := strings.Join(set, ",")
		need := min(count[key]-reserved[key], room)
		for _, s := range ad.Templates {
			n := min(need, free[s.Template])
			if n <= 0 || !template.Covers(s.Labels, set) {
				continue
			}
			grants = append(grants, p.reserve(set, s.Template, n, ad.ReservationLifetime))
			free[s.Template], need, room = free[s.Template]-n, need-n, room-n
		}
	}
	return grants
}

func (p *plane) reserve(labels []string, key string, count int, lifetime time.Duration) provisioner.Grant {
	if lifetime == 0 || lifetime > 10*time.Minute {
		lifetime = time.Minute
	}
	if t := p.w.dice.about("reservation", len(p.grants)); !p.w.calm && t.chance(p.w.setup.Plane.Twist) {
		lifetime = t.between(time.Second, lifetime)
	}
	g := &grant{
		id: fmt.Sprintf("res-%d", len(p.grants)), labels: labels, count: count,
		expires: time.Now().Add(lifetime), template: key,
	}
	p.grants[g.id], p.open = g, append(p.open, g)
	p.w.trace.say("plane: %s promises %d of %v for %s", g.id, count, labels, lifetime)
	p.w.after(lifetime+time.Millisecond, p.turn) // what was promised may be promised anew
	return provisioner.Grant{Reservation: g.id, Labels: labels, Count: count, Lifetime: lifetime}
}

// level is how many runners of a template are wanted: the waiting jobs and the
// busy runners.
func (p *plane) level(key string) int {
	n := 0
	for _, j := range p.jobs {
		if at, ok := p.byLevel(j.labels); ok && at == key && (j.state == jobQueued || j.state == jobRunning) {
			n++
		}
	}
	return n
}

// fact is what is known of a runner.
func (r *record) fact() provisioner.Fact {
	f := provisioner.Fact{
		Runner: r.id, Registered: provisioner.Is(r.registered), Busy: provisioner.Is(r.job != nil),
		Unwanted: r.unwanted != "", Reason: r.unwanted,
	}
	if r.job != nil {
		f.Job = r.job.id
	}
	return f
}

// mint makes registrations, or says which it does not.
func (p *plane) mint(requests []provisioner.MintRequest) (made []provisioner.Registration) {
	for _, q := range requests {
		if p.records[q.Runner] != nil {
			p.w.trace.say("plane: %s has a registration already", short(q.Runner))
			continue
		}
		g := p.grants[q.Reservation]
		if q.Reservation != "" {
			if g == nil || !time.Now().Before(g.expires) || g.minted >= g.count {
				p.w.trace.say("plane: %s has no more for %s", q.Reservation, short(q.Runner))
				continue
			}
			g.minted++
		}
		made = append(made, p.record(q, g))
	}
	return made
}

func (p *plane) record(q provisioner.MintRequest, g *grant) provisioner.Registration {
	n := len(p.w.canaries)
	secret := fmt.Sprintf("sf_rbt_canary-%d-%d-bird-in-the-mine", p.w.setup.Seed, n)
	p.w.canaries = append(p.w.canaries, secret)
	lifetime := cmp.Or(p.w.setup.Registrations, 5*time.Minute)
	if t := p.w.dice.about("registration", n); !p.w.calm && t.chance(p.w.setup.Plane.Twist) {
		lifetime = t.between(time.Second, time.Minute)
	}
	p.records[q.Runner] = &record{
		id: q.Runner, template: q.Template, credential: secret, labels: q.Labels, grant: g,
		expires: time.Now().Add(lifetime),
	}
	return provisioner.Registration{
		Runner: q.Runner, Env: map[string]string{credentialKey: secret},
		Labels: map[string]string{"sim-instance": fmt.Sprintf("instance-%d", n)}, Lifetime: lifetime,
	}
}

// retire makes sure that those that have no job never get one.
func (p *plane) retire(refs []provisioner.Ref) (retired []string) {
	for _, ref := range refs {
		rec := p.records[ref.ID]
		if rec == nil || rec.job != nil {
			continue
		}
		rec.retired = true
		p.settle(rec)
		retired = append(retired, ref.ID)
	}
	return retired
}
