package sim

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
)

// Here the world's engine is package memory's, and the world's own table of
// runners mirrors it: what is launched there becomes a process here, what ends
// here ends there. The two have locks of their own: memory's may be held when
// the world's is taken, never the other way round.

// mirrored makes package memory the engine.
func (e *engine) mirrored() *memory.Engine {
	config := memory.Config{Observe: e.observe, Fault: e.fault}
	for _, h := range e.hosts {
		room := h.room
		if h.name == "" {
			room = 0
		}
		config.Hosts = append(config.Hosts, memory.Host{Name: h.name, Room: room, Skew: e.w.setup.Skew})
	}
	return memory.New(config)
}

// observe takes in an effect.
func (e *engine) observe(event memory.Event) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	id := event.Spec.ID
	r := e.runners[id]
	switch event.Kind {
	case memory.Created, memory.Launched:
		if r == nil {
			r = newRunner(e.w, event.Spec, e.host(event.Runner.Host))
			e.runners[id], r.half = r, true
			e.w.trace.say("engine: %s of %s created on %q", short(id), r.template, r.host.name)
		}
		if event.Kind == memory.Launched {
			r.start(event.Spec)
		}
	case memory.Ended:
		if r != nil && event.Runner.ExitCode != nil {
			r.end(*event.Runner.ExitCode)
		}
	case memory.Removed:
		if r != nil {
			r.end(143)
			e.drop(r)
		}
	}
}

// mirrorOnline tells memory whether h is online by now.
func (e *engine) mirrorOnline(h *host) {
	e.order.Lock()
	defer e.order.Unlock()
	e.w.mu.Lock()
	online := h.online
	e.w.mu.Unlock()
	e.memory.SetOnline(h.name, online)
}

func (e *engine) host(name string) *host {
	for _, h := range e.hosts {
		if h.name == name {
			return h
		}
	}
	return e.hosts[0]
}

// fault turns a fate into memory's faults.
func (e *engine) fault(call memory.Call) memory.Fault {
	w := e.w
	w.mu.Lock()
	defer w.mu.Unlock()
	op, key := string(call.Op), ""
	if r := e.runners[call.ID]; r != nil {
		key = r.template
	}
	n := w.counts[op+"/"+key]
	w.counts[op+"/"+key]++
	w.counts["all/"+op]++
	if op == "watch" {
		return memory.Fault{}
	}
	f := w.fate(op, key, n)
	if f.Effect == Late {
		f.Effect = pick(w.dice.about("applied", op, key, n), Lands, Never)
	}
	if backend.IsDefinite(f.Err) || f.Err == nil && !f.Hang {
		f.Half = false
	}
	w.trace.say("memory %s %s #%d%s", op, key, n, f)
	return memory.Fault{
		Before: f.Before, After: f.After, Err: f.Err, Hang: f.Hang, Half: f.Half,
		Applied: f.Effect == Lands && (f.Err != nil || f.Hang),
	}
}

var _ backend.Backend = (*memoryHandle)(nil)

// memoryHandle is memory's backend as one life sees it.
type memoryHandle struct {
	*memory.Backend
	w *World
	l *Life
}

// bound returns a ctx that ends with the life, or with the faults, and an error
// if the life is over.
func (h *memoryHandle) bound(ctx context.Context) (context.Context, context.CancelFunc, error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.l.isDead() {
		h.w.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		h.w.mu.Lock()
		return ctx, func() {}, errDead
	}
	h.w.pace()
	doom := h.w.doom(h.l)
	ctx, cancel := context.WithCancel(ctx)
	stop, calmed := make(chan struct{}), h.w.calmed
	if h.w.calm {
		calmed = nil
	}
	go func() {
		defer cancel()
		select {
		case <-h.l.dead:
		case <-calmed:
		case <-stop:
		}
	}()
	if doom != spared {
		time.AfterFunc(time.Millisecond, h.l.kill)
	}
	return ctx, func() { close(stop) }, nil
}

// Launch is backend.Backend's.
func (h *memoryHandle) Launch(ctx context.Context, spec backend.Spec) error {
	h.l.beginLaunch(spec)
	ctx, done, err := h.bound(ctx)
	defer done()
	if err == nil {
		err = h.Backend.Launch(ctx, spec)
	}
	h.l.endLaunch(spec.ID, err)
	return err
}

// List is backend.Backend's.
func (h *memoryHandle) List(ctx context.Context) (backend.Listing, error) {
	h.l.beginList()
	ctx, done, err := h.bound(ctx)
	defer done()
	var listing backend.Listing
	if err == nil {
		listing, err = h.Backend.List(ctx)
	}
	if err != nil {
		h.l.unlisted()
		return backend.Listing{}, err
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.l.listed(listing)
	return listing, nil
}

// Remove is backend.Backend's.
func (h *memoryHandle) Remove(ctx context.Context, id string) error {
	h.l.beginRemove(id)
	ctx, done, err := h.bound(ctx)
	defer done()
	if err == nil {
		err = h.Backend.Remove(ctx, id)
	}
	if err != nil {
		return err
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.l.removed(id)
	return nil
}

// Prepare is backend.Preparer's.
func (h *memoryHandle) Prepare(ctx context.Context, spec backend.Spec) error {
	ctx, done, err := h.bound(ctx)
	defer done()
	if err == nil {
		err = h.Backend.Prepare(ctx, spec)
	}
	if err == nil {
		h.w.mu.Lock()
		defer h.w.mu.Unlock()
		h.l.know.prepared[spec.Image] = true
	}
	return err
}
