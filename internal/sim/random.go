package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// Random is the setup of a seed: any mix of demand, abilities, hosts, habits
// and faults.
func Random(seed uint64) Setup {
	t := dice(seed).about("setup")
	s := Setup{
		Seed: seed,
		Limits: provisioner.Limits{
			MaxLifetime: 7 * time.Minute, FailedRetention: 5 * time.Minute, FailedRetentionCount: 1 + t.IntN(5),
			PollWait: pick(t, 30*time.Second, 10*time.Second), LaunchParallelism: 1 + t.IntN(16),
		},
		Announce: t.chance(0.5), Facts: t.chance(0.7), Retire: t.chance(0.7), Warm: t.chance(0.7),
		Hints: t.chance(0.7), Prepare: t.chance(0.6), Chatty: t.chance(0.1),
		Skew: pick(t, 0, -7*time.Hour, 9*time.Hour),
	}
	for i, labels := range [][]string{{"linux", "x64"}, {"large", "linux", "x64"}, {"arm64", "linux"}, {"gpu"}}[:1+t.IntN(4)] {
		s.Templates = append(s.Templates, randomTemplate(t, i, labels))
	}
	if t.chance(0.5) {
		floors := 0 // what they take is not there for jobs
		for _, x := range s.Templates {
			floors += max(x.MinIdle, x.TargetConcurrency)
		}
		for range 1 + t.IntN(4) {
			s.Hosts = append(s.Hosts, 1+t.IntN(5))
		}
		s.Hosts[0] += floors
	}
	switch t.IntN(3) {
	case 0: // all granted
	case 1: // all targets; those are minted without a reservation
		for _, x := range s.Templates {
			s.Levels = append(s.Levels, x.Key)
		}
		s.Warm = true
	case 2:
		s.Levels, s.Warm = []string{s.Templates[len(s.Templates)-1].Key}, true
	}
	s.Memory = t.chance(0.3)
	s.Engine, s.Plane, s.Habits = randomOdds(t), randomOdds(t), randomHabits(t)
	return s
}

func randomTemplate(t throws, i int, labels []string) template.Template {
	x := template.Template{
		Key: fmt.Sprintf("t%d", i), Labels: labels, Image: fmt.Sprintf("image-%d", i%3), CPU: float64(1 + i%2), Memory: 1 << 30,
		MaxConcurrency: 1 + t.IntN(6),
	}
	if t.chance(0.4) {
		x.MinIdle = t.IntN(min(3, x.MaxConcurrency+1))
	}
	if t.chance(0.3) {
		x.TargetConcurrency = t.IntN(min(3, x.MaxConcurrency+1))
	}
	if t.chance(0.2) {
		x.RegistrationDeadline, x.MaxLifetime = 40*time.Second, 5*time.Minute
	}
	return x
}

// randomOdds leaves most kinds of faults out, and makes one or two frequent.
func randomOdds(t throws) Odds {
	odds := func() float64 {
		if t.chance(0.5) {
			return 0
		}
		return math.Pow(t.Float64(), 3) * 0.4
	}
	return Odds{Refuse: odds(), Drop: odds() / 2, Lose: odds() / 2, Late: odds() / 2, Hang: odds() / 4, Slow: odds(), Twist: odds()}
}

func randomHabits(t throws) Habits {
	odds := func() float64 {
		if t.chance(0.5) {
			return 0
		}
		return t.Float64() * 0.3
	}
	return Habits{Crash: odds(), Quit: odds() / 2, Mute: odds() / 2, Die: odds(), Outlive: odds() / 3}
}

// Trouble makes trouble for so long: jobs come and are cancelled, hosts go and
// come back, the credential is refused, the loop is killed and stopped.
func (w *World) Trouble(d time.Duration) {
	t := w.dice.about("trouble")
	until := time.Now().Add(d)
	if t.chance(0.6) {
		w.Kills(t.Float64() * t.Float64() * 0.05)
	}
	jobs := 0
	for time.Now().Before(until) {
		select {
		case <-w.Over():
			return
		case <-time.After(t.between(100*time.Millisecond, 20*time.Second)):
		}
		switch p := t.IntN(20); {
		case p < 11:
			for range 1 + t.IntN(4) {
				if w.waiting() > 10 {
					break // what waits must be done in the time there is
				}
				x := w.origin[t.IntN(len(w.origin))]
				labels := slices.Clone(x.Labels)[:1+t.IntN(len(x.Labels))]
				w.Submit(t.between(time.Second, 2*time.Minute), labels...)
				jobs++
			}
		case p < 13 && jobs > 0:
			w.Cancel(t.IntN(jobs))
		case p < 16:
			w.flip(t)
		case p < 17:
			w.Refuse(t.between(time.Second, time.Minute))
		case p < 18 && t.chance(0.5):
			w.byHand(t)
		case p < 18:
			w.reload(t)
		case p < 19:
			w.stop()
		}
	}
}

// waiting counts the jobs that wait.
func (w *World) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, j := range w.plane.jobs {
		if j.state == jobQueued {
			n++
		}
	}
	return n
}

// reload gives the loop some of its templates, with other maxima.
func (w *World) reload(t throws) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var some []template.Template
	for _, x := range w.origin {
		if t.chance(0.2) && len(some) > 0 {
			continue
		}
		x.MaxConcurrency = 1 + t.IntN(7)
		x.MinIdle, x.TargetConcurrency = min(x.MinIdle, x.MaxConcurrency), min(x.TargetConcurrency, x.MaxConcurrency)
		some = append(some, x)
	}
	w.replace(some)
}

// flip takes a host away, or its power, and gives it back later.
func (w *World) flip(t throws) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := pick(t, w.engine.hosts...)
	if t.chance(0.3) {
		w.engine.crash(h)
	}
	w.engine.setOnline(h, false)
	w.after(t.between(time.Second, 4*time.Minute), func() { w.engine.setOnline(h, true) })
}

// Refuse refuses the credential for a while.
func (w *World) Refuse(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace.say("plane: the credential is refused for %s", d)
	w.plane.locked = true
	w.plane.turn()
	w.after(d, func() { w.plane.locked = false })
}

// byHand removes a runner behind the loop's back.
func (w *World) byHand(t throws) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.engine.sorted() {
		if r.owner == owner && t.chance(0.2) {
			w.trace.say("%s is removed by hand", short(r.id))
			if m := w.engine.memory; m != nil {
				time.AfterFunc(0, func() { m.Lose(r.id) })
				return
			}
			r.end(137)
			w.engine.drop(r)
			return
		}
	}
}

// stop stops the loop cleanly.
func (w *World) stop() {
	w.mu.Lock()
	l := w.lives[len(w.lives)-1]
	w.mu.Unlock()
	if !l.isDead() {
		l.Stop()
	}
}

// Unsettled says what is left to do; empty: every job is done and nothing is
// there but what should be.
func (w *World) Unsettled() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.plane.jobs {
		if j.state == jobQueued || j.state == jobRunning {
			return fmt.Sprintf("%s %v is %s", j.id, j.labels, j.state)
		}
	}
	live, failed := map[string]int{}, 0
	for _, r := range w.engine.sorted() {
		switch {
		case r.owner != owner:
		case r.state.HoldsSlot():
			live[r.template]++
		case r.code != nil && *r.code == 0:
			return fmt.Sprintf("%s of %s exited and is still there", short(r.id), r.template)
		default:
			failed++
		}
	}
	if failed > max(0, w.limits.FailedRetentionCount) {
		return fmt.Sprintf("%d failed runners are kept", failed)
	}
	if n := w.engine.strangers(); n != 6 {
		return fmt.Sprintf("%d of 6 runners of others are left", n)
	}
	if left := w.untold(); left != "" {
		return left
	}
	return w.unlevel(live)
}

// untold says whose end was not told to the control plane, in worlds with one
// life in which no report was rejected.
func (w *World) untold() string {
	if len(w.lives) != 1 || len(w.lives[0].know.rejected) > 0 {
		return ""
	}
	for _, rec := range w.plane.sorted() {
		r := w.engine.runners[rec.id]
		if w.counts["started/"+rec.credential] > 0 && rec.terminal == "" && (r == nil || !r.state.HoldsSlot()) {
			return fmt.Sprintf("the end of %s of %s was not told", short(rec.id), rec.template)
		}
	}
	return ""
}

func (w *World) unlevel(live map[string]int) string {
	for _, t := range w.setup.Templates {
		floor := 0
		if w.setup.Warm {
			floor = max(t.MinIdle, t.TargetConcurrency)
		}
		if len(w.setup.Hosts) == 0 && live[t.Key] != floor || live[t.Key] > floor {
			return fmt.Sprintf("%d of %s live, the floor is %d", live[t.Key], t.Key, floor)
		}
	}
	for _, s := range w.plane.advert.Templates {
		t, _ := w.setup.template(s.Template)
		if room := min(t.MaxConcurrency-live[t.Key], w.engine.capacity()); s.Free < min(1, room) || s.Free > max(0, room) { // one, while a template is on probation
			return fmt.Sprintf("%d of %s are advertised, there is room for %d", s.Free, t.Key, room)
		}
	}
	return ""
}
