package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// plane is the truth about jobs, reservations and registrations. Its methods
// need the world's lock.
type plane struct {
	w       *World
	jobs    []*job
	grants  map[string]*grant
	open    []*grant           // those that have not expired
	records map[string]*record // by runner id
	// changed is closed, and made anew, whenever a poll may have more to say.
	changed chan struct{}
	levels  map[string]int // as last told
	heard   map[provisioner.EventState]int
	last    provisioner.Demand
	locked  bool                      // the credential is refused
	advert  provisioner.Advertisement // the last
}

// job is one job; it is done once.
type job struct {
	id     string
	labels []string
	takes  time.Duration
	queued time.Time
	began  time.Time // of the first try
	runner *runner
	tries  int
	state  jobState
	cancel bool
}

type jobState string

const (
	jobQueued    jobState = "queued"
	jobRunning   jobState = "running"
	jobDone      jobState = "done"
	jobCancelled jobState = "cancelled"
)

// grant is one reservation.
type grant struct {
	id       string
	labels   []string
	count    int
	minted   int
	settled  int // units whose runner took a job, or never will
	expires  time.Time
	template string
}

func (g *grant) open(now time.Time) int {
	if !now.Before(g.expires) {
		return 0
	}
	return max(0, g.count-g.settled)
}

// record is what the control plane knows of one runner.
type record struct {
	id, template, credential string
	labels                   []string
	grant                    *grant
	expires                  time.Time
	registered, retired      bool
	left                     bool
	settled                  bool
	job                      *job
	unwanted                 string
	process                  *runner
	terminal                 provisioner.EventState
}

func newPlane(w *World) *plane {
	return &plane{
		w: w, grants: map[string]*grant{}, records: map[string]*record{}, changed: make(chan struct{}),
		levels: map[string]int{}, heard: map[provisioner.EventState]int{},
	}
}

// Submit queues a job that takes so long; it returns its number.
func (w *World) Submit(takes time.Duration, labels ...string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	labels, err := template.Canonical(labels)
	if err != nil {
		panic(err)
	}
	j := &job{id: fmt.Sprintf("job-%d", len(w.plane.jobs)), labels: labels, takes: takes, queued: time.Now(), state: jobQueued}
	w.plane.jobs = append(w.plane.jobs, j)
	w.trace.say("plane: %s %v is queued", j.id, labels)
	w.plane.turn()
	return len(w.plane.jobs) - 1
}

// Cancel cancels job n: its runner becomes unwanted.
func (w *World) Cancel(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.plane.jobs[n]
	switch j.state {
	case jobQueued:
		j.state = jobCancelled
	case jobRunning:
		j.cancel = true
		w.plane.records[j.runner.id].unwanted = "job-cancelled"
	}
	w.trace.say("plane: %s is cancelled", j.id)
	w.plane.turn()
}

// turn gives waiting jobs to waiting runners, and wakes the polls.
func (p *plane) turn() {
	for _, j := range p.jobs {
		if j.state != jobQueued {
			continue
		}
		if r := p.idle(j.labels); r != nil {
			j.state, j.runner, r.job = jobRunning, r.process, j
			j.tries++
			if j.began.IsZero() {
				j.began = time.Now()
			}
			p.settle(r)
			p.w.trace.say("plane: %s goes to %s", j.id, short(r.id))
			r.process.work(j.takes)
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plane) idle(labels []string) *record {
	for _, r := range p.w.engine.sorted() {
		rec := p.records[r.id]
		if rec != nil && rec.process == r && rec.waits() && template.Covers(rec.labels, labels) {
			return rec
		}
	}
	return nil
}

// waits says whether the runner waits for a job.
func (r *record) waits() bool {
	return r.registered && !r.left && !r.retired && r.job == nil && r.process != nil && r.process.state.HoldsSlot() && r.unwanted == ""
}

func (r *record) busy() bool {
	return r.job != nil && r.job.state == jobRunning && r.job.runner == r.process
}

// settle counts the runner's unit of its reservation as used, or given back.
func (p *plane) settle(r *record) {
	if r.grant != nil && !r.settled {
		r.settled = true
		r.grant.settled++
	}
}

// register is a runner that introduces itself.
func (p *plane) register(r *runner) bool {
	rec := p.records[r.id]
	switch {
	case rec == nil || rec.credential != r.credential:
		p.w.trace.breaks("invariant 1", "%s introduces itself with a registration that is not its own", short(r.id))
		return false
	case rec.registered:
		p.w.trace.breaks("invariant 1", "%s introduces itself twice", short(r.id))
		return false
	case rec.retired, rec.unwanted != "", time.Now().After(rec.expires):
		p.w.trace.say("plane: %s is turned away", short(r.id))
		return false
	}
	rec.registered, rec.process = true, r
	p.w.trace.say("plane: %s registers", short(r.id))
	p.turn()
	return true
}

// leave is a runner whose patience is over; false: it has a job.
func (p *plane) leave(r *runner) bool {
	rec := p.records[r.id]
	if rec.job != nil {
		return false
	}
	rec.left = true
	return true
}

// done is a runner that finished its job.
func (p *plane) done(r *runner) {
	if rec := p.records[r.id]; rec.busy() {
		rec.job.state = jobDone
		if rec.job.cancel {
			rec.job.state = jobCancelled
		}
		p.w.trace.say("plane: %s is %s", rec.job.id, rec.job.state)
		p.turn()
	}
}

// lost is a runner whose process ended: its job waits again when its lease ran
// out.
func (p *plane) lost(r *runner) {
	rec := p.records[r.id]
	if rec == nil || !rec.busy() {
		return
	}
	j := rec.job
	p.w.after(30*time.Second, func() {
		if j.state != jobRunning || j.runner != r {
			return
		}
		j.state, j.runner = jobQueued, nil
		if j.cancel {
			j.state = jobCancelled
		}
		p.w.trace.say("plane: %s is %s again", j.id, j.state)
		p.turn()
	})
}

func (p *plane) sorted() []*record {
	return slices.SortedFunc(maps.Values(p.records), func(a, b *record) int { return cmp.Compare(a.id, b.id) })
}

// queued counts the waiting jobs by label set, and tells the sets in order:
// most labels first.
func (p *plane) queued() (sets [][]string, count map[string]int) {
	count = map[string]int{}
	for _, j := range p.jobs {
		if j.state != jobQueued {
			continue
		}
		key := strings.Join(j.labels, ",")
		if count[key] == 0 {
			sets = append(sets, j.labels)
		}
		count[key]++
	}
	slices.SortStableFunc(sets, func(a, b []string) int { return len(b) - len(a) })
	return sets, count
}

// byLevel says whether the jobs of these labels are told as a target, and of
// which template.
func (p *plane) byLevel(labels []string) (string, bool) {
	for _, key := range p.w.setup.Levels {
		for _, t := range p.w.origin {
			if t.Key == key && template.Covers(t.Labels, labels) {
				return key, true
			}
		}
	}
	return "", false
}
