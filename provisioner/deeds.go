package provisioner

import (
	"bufio"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// apply does a. What the ledger has to know at once is written here; the deed
// itself runs in a goroutine and its answer comes back as news.
func (r *run) apply(a Action, now time.Time) {
	if a.Do != DoList && a.Do != DoSize && a.Do != DoAsk && a.Do != DoPoll && a.Do != DoReport && a.Do != DoKeepAlive {
		r.loop.log.Debug(string(a.Do), "template", a.Template, "runner", one(a.Runners), "reservation", a.Reservation, "count", a.Count, "reason", a.Reason)
	}
	switch a.Do {
	case DoList:
		r.list(now)
	case DoSize:
		r.size(now)
	case DoAsk:
		r.ask(now)
	case DoPoll:
		r.poll(a, now)
	case DoRepoll:
		r.polling()
	case DoPrepare:
		r.prepare(a)
	case DoMint:
		r.mint(a, now)
	case DoAnnounce:
		r.announce(r.ledger.runners[a.Runners[0]], now)
	case DoLaunch:
		r.launch(r.ledger.runners[a.Runners[0]], now)
	case DoDrop:
		r.drop(r.ledger.runners[a.Runners[0]], a, now)
	case DoExpire:
		r.expire(a)
	case DoRetire:
		r.retire(a, now)
	case DoRemove:
		r.remove(a, now)
	case DoKeepAlive:
		for _, id := range a.Runners {
			r.ledger.post(r.ledger.runners[id], EventRunning, "", now)
		}
	case DoReport:
		r.report(a)
	}
}

// deed runs f with the time limit in a goroutine. Draining waits for it when
// it matters; Run always does.
func (r *run) deed(limit time.Duration, matters bool, f func(ctx context.Context) news) {
	if matters {
		r.active.Add(1)
	}
	r.deeds.Go(func() {
		ctx, cancel := context.WithTimeout(r.work, limit)
		n := f(ctx)
		cancel()
		r.tell(func(l *ledger, now time.Time) {
			n(l, now)
			if matters {
				r.active.Add(-1)
			}
		})
	})
}

func (r *run) list(now time.Time) {
	l := r.ledger
	l.snap.List.Busy, l.snap.List.Began, l.snap.Woken = true, now, false
	r.deed(r.config.CallTimeout, false, func(ctx context.Context) news {
		listing, err := r.config.Backend.List(ctx)
		return func(l *ledger, at time.Time) { l.listed(now, at, listing, err) }
	})
}

func (r *run) size(now time.Time) {
	l := r.ledger
	l.snap.Size.Busy, l.snap.Size.Began = true, now
	keys := slices.Clone(l.snap.Order)
	specs := make([]backend.Spec, len(keys))
	for i, key := range keys {
		specs[i] = specOf(l.snap.Index.Get(key))
	}
	r.deed(r.config.CallTimeout, false, func(ctx context.Context) news {
		room, err := backend.Capacity(ctx, r.config.Backend, specs)
		return func(l *ledger, at time.Time) { l.sized(now, at, keys, room, err) }
	})
}

func (r *run) ask(now time.Time) {
	r.ledger.snap.Facts.Busy, r.ledger.snap.Facts.Began = true, now
	runners, _ := askable(r.ledger.snapshot(now))
	r.deed(r.config.CallTimeout, false, func(ctx context.Context) news {
		facts, err := r.config.ControlPlane.(Knower).Facts(ctx, refs(runners))
		return func(l *ledger, at time.Time) { l.asked(now, at, facts, err) }
	})
}

func (r *run) poll(a Action, now time.Time) {
	r.ledger.snap.Poll.Busy, r.ledger.snap.Poll.Began = true, now
	r.ledger.snap.Advertised = a.Ad
	ctx, cancel := context.WithCancel(r.work)
	r.polling = cancel
	r.deeds.Go(func() {
		defer cancel()
		limited, end := context.WithTimeout(ctx, a.Ad.Wait+15*time.Second)
		demand, err := r.config.ControlPlane.Poll(limited, a.Ad)
		end()
		cancelled := ctx.Err() != nil
		r.tell(func(l *ledger, at time.Time) { l.polled(now, at, demand, err, cancelled) })
	})
}

func (r *run) prepare(a Action) {
	lane := r.ledger.lanes[a.Template]
	lane.Preparing = true
	spec := specOf(r.ledger.snap.Index.Get(a.Template))
	r.deed(r.config.PrepareTimeout, false, func(ctx context.Context) news {
		err := backend.Prepare(ctx, r.config.Backend, spec)
		return func(l *ledger, at time.Time) { l.prepared(a.Template, lane, at, err) }
	})
}

func (r *run) mint(a Action, now time.Time) {
	runners := r.ledger.begin(a, now)
	labels := r.ledger.snap.Index.Get(a.Template).Labels
	requests := make([]MintRequest, len(runners))
	for i, runner := range runners {
		requests[i] = MintRequest{Runner: runner.ID, Template: a.Template, Reservation: a.Reservation, Labels: labels}
	}
	r.deed(r.config.CallTimeout, true, func(ctx context.Context) news {
		registrations, err := r.config.ControlPlane.Mint(ctx, requests)
		return func(l *ledger, at time.Time) { l.minted(a, runners, registrations, at, err) }
	})
}

func (r *run) announce(runner *Runner, now time.Time) {
	runner.Phase, runner.Since = Announcing, now
	ref := refs([]*Runner{runner})[0]
	r.deed(r.config.CallTimeout, true, func(ctx context.Context) news {
		err := r.config.ControlPlane.(Announcer).Announce(ctx, ref)
		return func(l *ledger, at time.Time) { l.announced(runner, at, err) }
	})
}

func (r *run) launch(runner *Runner, now time.Time) {
	runner.Phase, runner.Since = Launching, now
	t := r.ledger.snap.Index.Get(runner.Template)
	if t == nil { // the template went away in between
		r.ledger.drop(runner, "template-gone", now)
		return
	}
	spec := specOf(t)
	spec.ID, spec.Labels = runner.ID, runner.Labels
	spec.Env = merged(t.Env, runner.registration.Env)
	if len(runner.registration.Command) > 0 {
		spec.Command = runner.registration.Command
	}
	r.loop.log.Info("launch", "runner", runner.ID, "template", runner.Template, "reservation", runner.Reservation)
	r.deed(r.config.CallTimeout, true, func(ctx context.Context) news {
		err := r.config.Backend.Launch(ctx, spec)
		return func(l *ledger, at time.Time) { l.launched(runner, now, at, err) }
	})
}

func (r *run) drop(runner *Runner, a Action, now time.Time) {
	reason := a.Reason
	if runner.Phase == Minted && r.ledger.snap.Able.Announce {
		reason = "" // it was not announced: nobody knows of it
	}
	r.loop.log.Info("drop", "runner", runner.ID, "template", runner.Template, "reason", a.Reason)
	r.ledger.drop(runner, reason, now)
}

func (r *run) expire(a Action) {
	l := r.ledger
	l.snap.Grants = slices.DeleteFunc(l.snap.Grants, func(g HeldGrant) bool { return g.Reservation == a.Reservation })
	r.loop.log.Info("grant expired", "reservation", a.Reservation, "count", a.Count)
}

func (r *run) retire(a Action, now time.Time) {
	runners := r.mark(a.Runners)
	r.deed(r.config.CallTimeout, false, func(ctx context.Context) news {
		ids, err := r.config.ControlPlane.(Retirer).Retire(ctx, refs(runners))
		return func(l *ledger, at time.Time) { l.retired(runners, ids, a.Reason, at, err) }
	})
}

func (r *run) remove(a Action, now time.Time) {
	runner := r.mark(a.Runners)[0]
	if runner.HoldsSlot() && runner.Phase == Launched {
		runner.Removing = a.Reason
		r.loop.log.Info("remove", "runner", runner.ID, "template", runner.Template, "reason", a.Reason)
		r.ledger.tell(runner, EventStopping, a.Reason, now)
	}
	r.deed(r.config.CallTimeout, false, func(ctx context.Context) news {
		err := r.config.Backend.Remove(ctx, runner.ID)
		return func(l *ledger, at time.Time) { l.removed(runner, a.Reason, at, err) }
	})
}

func (r *run) mark(ids []string) []*Runner {
	runners := make([]*Runner, len(ids))
	for i, id := range ids {
		runners[i] = r.ledger.runners[id]
		runners[i].Busy = true
	}
	return runners
}

func (r *run) report(a Action) {
	r.ledger.snap.Report.Busy = true
	events := r.ledger.outbox.take(a.Count)
	r.deed(r.config.CallTimeout, true, func(ctx context.Context) news {
		err := r.config.ControlPlane.Report(ctx, events)
		return func(l *ledger, at time.Time) { l.reported(at, err) }
	})
}

// tails fetches the end of the log of runners that failed, once each, for our
// own log: when the runner is gone nobody can look.
func (r *run) tails(now time.Time) {
	for _, runner := range r.ledger.runners {
		if runner.tailed || runner.Seen == nil || runner.Seen.State != backend.Failed || !runner.Removed.IsZero() {
			continue
		}
		runner.tailed = true
		id, key, reason := runner.ID, runner.Template, endReason(runner.Seen)
		r.deed(r.config.CallTimeout, false, func(ctx context.Context) news {
			lines := tail(ctx, r.config.Backend, id)
			return func(l *ledger, _ time.Time) {
				l.note("warn", "runner failed", "runner", id, "template", key, "reason", tokens.Redact(reason), "log", lines)
			}
		})
	}
}

const tailLines = 20

func tail(ctx context.Context, b backend.Backend, id string) []string {
	log, err := backend.Logs(ctx, b, id, tailLines)
	if err != nil {
		return nil
	}
	defer log.Close()
	var lines []string
	for scan := bufio.NewScanner(log); scan.Scan() && len(lines) < tailLines; {
		lines = append(lines, tokens.Redact(scan.Text()))
	}
	return lines
}

func refs(runners []*Runner) []Ref {
	out := make([]Ref, len(runners))
	for i, r := range runners {
		out[i] = Ref{ID: r.ID, Labels: r.Labels}
	}
	return out
}

func one(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	return ""
}

func isUnsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

func merged(a, b map[string]string) map[string]string {
	out := make(map[string]string, len(a)+len(b))
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// specOf is what every runner of a template is launched with, but for its id,
// labels and registration.
func specOf(t *template.Template) backend.Spec {
	spec := backend.Spec{
		Labels: map[string]string{LabelTemplate: t.Key}, // a fleet goes by it
		Image:  t.Image, PullPolicy: backend.PullPolicy(t.PullPolicy), PullMaxAge: t.PullMaxAge, OS: t.OS, Arch: t.Arch,
		InjectRunner: t.InjectRunner, Entrypoint: t.Entrypoint, Command: t.Command, User: t.User,
		CPU: t.CPU, Memory: t.Memory, GPUs: t.GPUs, ShmSize: t.ShmSize, PidsLimit: t.PidsLimit,
		Runtime: t.Runtime, Network: t.Network, Tmpfs: t.Tmpfs, CapAdd: t.CapAdd, CapDrop: t.CapDrop,
		Privileged: t.Privileged, ReadOnly: t.ReadOnly, AllowNewPrivileges: t.AllowNewPrivileges,
	}
	for _, m := range t.Mounts {
		spec.Mounts = append(spec.Mounts, backend.Mount(m))
	}
	return spec
}
