package controlplanetest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
	"github.com/slipway-ci/slipway/template"
)

// plane is a control plane that keeps every promise, in memory.
type plane struct {
	targets bool
	life    time.Duration // of grants; 0: as long as was asked
	hang    atomic.Bool

	mu      sync.Mutex
	jobs    []*job
	due     map[string]time.Time // when a reservation is over
	runners map[string]*instance
	opened  int // sessions
	changed chan struct{}
}

type job struct {
	labels      []string
	reservation string // granted by it
	runner      string // taken by it
}

type instance struct {
	reservation string
	labels      []string
	secret      string
	state       provisioner.EventState
	registered  bool
	retired     bool
	busy        bool
	unwanted    string
}

func newPlane(targets bool) *plane {
	return &plane{targets: targets, due: map[string]time.Time{}, runners: map[string]*instance{}, changed: make(chan struct{})}
}

// call does one call's effect under the lock, unless ctx is over or the far end
// hangs.
func (p *plane) call(ctx context.Context, effect func()) error {
	if p.hang.Load() {
		<-ctx.Done()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	effect()
	return nil
}

func (p *plane) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plane) Identify(ctx context.Context) (id provisioner.Identity, err error) {
	return id, p.call(ctx, func() { id.ID = "us" })
}

func (p *plane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	over := time.After(ad.Wait)
	for last := ad.Wait <= 0; ; {
		var demand provisioner.Demand
		var changed chan struct{}
		if err := p.call(ctx, func() { demand, changed = p.look(ad), p.changed }); err != nil {
			return provisioner.Demand{}, err
		}
		wanted := len(demand.Grants) > 0 || slices.ContainsFunc(demand.Targets, func(t provisioner.Target) bool { return t.Count > 0 })
		if wanted || last {
			return demand, nil
		}
		select {
		case <-changed:
		case <-over:
			last = true
		case <-ctx.Done():
		}
	}
}

// expire gives back what nobody used of grants that are over.
func (p *plane) expire() {
	for id, due := range p.due {
		if time.Now().Before(due) {
			continue
		}
		for p.left(id) > 0 && p.release(id) {
			continue
		}
	}
}

// left is how many units of a reservation have no runner yet.
func (p *plane) left(reservation string) (n int) {
	for _, j := range p.jobs {
		if j.reservation == reservation {
			n++
		}
	}
	for _, r := range p.runners {
		if r.reservation == reservation && !r.state.Terminal() {
			n--
		}
	}
	return n
}

func (p *plane) look(ad provisioner.Advertisement) (demand provisioner.Demand) {
	p.expire()
	left, life := ad.MaxReservations, cmp.Or(p.life, ad.ReservationLifetime, time.Minute)
	for _, slots := range ad.Templates {
		wanted, free := 0, min(left, slots.Free)
		grants := map[string]*provisioner.Grant{}
		for _, j := range p.jobs {
			if !template.Covers(slots.Labels, j.labels) {
				continue
			}
			wanted++
			if p.targets || free == 0 || j.reservation != "" || j.runner != "" {
				continue
			}
			free, left = free-1, left-1
			set := strings.Join(j.labels, ",")
			if grants[set] == nil {
				grants[set] = &provisioner.Grant{Reservation: uuid.NewString(), Labels: j.labels, Lifetime: life}
				p.due[grants[set].Reservation] = time.Now().Add(life)
			}
			grants[set].Count++
			j.reservation = grants[set].Reservation
		}
		for _, g := range grants {
			demand.Grants = append(demand.Grants, *g)
		}
		if p.targets {
			demand.Targets = append(demand.Targets, provisioner.Target{Template: slots.Template, Count: wanted})
		}
	}
	for id, r := range p.runners {
		if r.unwanted != "" {
			demand.Facts = append(demand.Facts, r.fact(id))
		}
	}
	return demand
}

func (r *instance) fact(id string) provisioner.Fact {
	return provisioner.Fact{
		Runner: id, Registered: provisioner.Is(r.registered), Busy: provisioner.Is(r.busy),
		Unwanted: r.unwanted != "", Reason: r.unwanted,
	}
}

func (p *plane) Mint(ctx context.Context, requests []provisioner.MintRequest) (made []provisioner.Registration, err error) {
	err = p.call(ctx, func() {
		for _, q := range requests {
			if q.Reservation != "" && (p.left(q.Reservation) <= 0 || !time.Now().Before(p.due[q.Reservation])) {
				continue
			}
			r := &instance{reservation: q.Reservation, labels: q.Labels, secret: "secret-" + uuid.NewString()}
			p.runners[q.Runner] = r
			made = append(made, provisioner.Registration{
				Runner: q.Runner, Env: map[string]string{"TOKEN": r.secret, "URL": "http://hub"},
				Labels: map[string]string{"instance": q.Runner}, Lifetime: time.Minute,
			})
		}
	})
	return made, err
}

func (p *plane) Announce(ctx context.Context, runner provisioner.Ref) error {
	return p.call(ctx, func() {})
}

var rank = []provisioner.EventState{
	"", provisioner.EventStarting, provisioner.EventRunning, provisioner.EventStopping,
	provisioner.EventStopped, provisioner.EventFailed, provisioner.EventTerminated,
}

func (p *plane) Report(ctx context.Context, events []provisioner.Event) error {
	return p.call(ctx, func() {
		for _, e := range events {
			r := p.runners[e.Runner]
			if r == nil || slices.Index(rank, e.State) <= slices.Index(rank, r.state) {
				continue
			}
			r.state = e.State
			if r.state.Terminal() && !r.busy && r.reservation != "" {
				p.release(r.reservation)
			}
		}
	})
}

// release gives one job of the reservation back to the queue, if it has one.
func (p *plane) release(reservation string) bool {
	for _, j := range p.jobs {
		if j.reservation == reservation && j.runner == "" {
			j.reservation = ""
			p.wake()
			return true
		}
	}
	return false
}

func (p *plane) Facts(ctx context.Context, runners []provisioner.Ref) (facts []provisioner.Fact, err error) {
	err = p.call(ctx, func() {
		for _, ref := range runners {
			if r := p.runners[ref.ID]; r != nil {
				facts = append(facts, r.fact(ref.ID))
			}
		}
	})
	return facts, err
}

func (p *plane) Retire(ctx context.Context, runners []provisioner.Ref) (retired []string, err error) {
	err = p.call(ctx, func() {
		for _, ref := range runners {
			if r := p.runners[ref.ID]; r != nil && !r.busy {
				r.retired = true
				retired = append(retired, ref.ID)
			}
		}
	})
	return retired, err
}

// refused is a plane whose credential is refused.
type refused struct{}

func (refused) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{}, provisioner.ErrUnauthorized
}
func (refused) Poll(context.Context, provisioner.Advertisement) (provisioner.Demand, error) {
	return provisioner.Demand{}, fmt.Errorf("poll: %w", provisioner.ErrUnauthorized)
}
func (refused) Mint(context.Context, []provisioner.MintRequest) ([]provisioner.Registration, error) {
	return nil, provisioner.ErrUnauthorized
}
func (refused) Report(context.Context, []provisioner.Event) error { return provisioner.ErrUnauthorized }
func (refused) Announce(context.Context, provisioner.Ref) error   { return provisioner.ErrUnauthorized }
func (refused) Retire(context.Context, []provisioner.Ref) ([]string, error) {
	return nil, provisioner.ErrUnauthorized
}

// announces and retires let a refused credential do what nobody checks it for.
type (
	announces struct{ refused }
	retires   struct{ refused }
)

func (announces) Announce(context.Context, provisioner.Ref) error { return nil }
func (retires) Retire(context.Context, []provisioner.Ref) ([]string, error) {
	return nil, nil
}

// harness has every ability that the suite knows, but for ageing.
type harness struct {
	*plane
	defect defect
}

func (h *harness) Open(*testing.T) provisioner.ControlPlane {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened++
	w := &wrapped{plane: h.plane, defect: h.defect, session: h.opened}
	if w.open != nil {
		w.open(w)
	}
	return w
}

func (h *harness) OpenRefused(*testing.T) provisioner.ControlPlane {
	if h.defect.refused != nil {
		return h.defect.refused
	}
	return refused{}
}

func (h *harness) Traits() controlplanetest.Traits {
	patience := 10 * time.Second
	if h.defect.promise != "" { // most of them are waited for in vain
		patience = 1500 * time.Millisecond
	}
	return controlplanetest.Traits{Targets: h.targets, Patience: patience}
}

func (h *harness) Enqueue(_ *testing.T, labels []string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range n {
		h.jobs = append(h.jobs, &job{labels: labels})
	}
	h.wake()
}

func (h *harness) Start(t *testing.T, registration provisioner.Registration) controlplanetest.Runner {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.runners[registration.Runner]
	require.NotNil(t, r)
	require.Equal(t, r.secret, registration.Env["TOKEN"])
	r.registered = true
	return &worker{plane: h.plane, id: registration.Runner, r: r}
}

type worker struct {
	*plane
	id string
	r  *instance
}

func (w *worker) Take(*testing.T) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.jobs {
		if !w.r.retired && j.runner == "" && template.Covers(w.r.labels, j.labels) {
			j.runner, w.r.busy = w.id, true
			return true
		}
	}
	return false
}

func (h *harness) Cancel(_ *testing.T, runner string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runners[runner].unwanted = "job-cancelled"
	h.wake()
}

func (h *harness) State(_ *testing.T, runner string) provisioner.EventState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.runners[runner].state
}

// ageing is a harness that need not wait for the end of a grant.
type ageing struct{ *harness }

func (h *ageing) Age(_ *testing.T, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.due {
		h.due[id] = h.due[id].Add(-d)
	}
}

func (h *harness) Hang(*testing.T)   { h.hang.Store(true) }
func (h *harness) Unhang(*testing.T) { h.hang.Store(false) }

var errBroken = errors.New("connection reset")
