package sim

import (
	"context"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

// handle is the engine as one life sees it.
type handle struct {
	w *World
	l *Life
}

var _ backend.Backend = (*handle)(nil)

// Backend is the engine for this life, with the abilities that the setup says.
func (l *Life) Backend() backend.Backend {
	if m := l.w.engine.memory; m != nil {
		return &memoryHandle{m.Backend(owner), l.w, l}
	}
	h := &handle{l.w, l}
	watch, size, prepare := &watcher{h}, &sizer{h}, &preparer{h}
	hints, fleet, images := l.w.setup.Hints, l.w.engine.fleet(), l.w.setup.Prepare
	switch {
	case fleet && hints && images:
		return struct {
			*handle
			*watcher
			*sizer
			*preparer
		}{h, watch, size, prepare}
	case fleet && hints:
		return struct {
			*handle
			*watcher
			*sizer
		}{h, watch, size}
	case fleet && images:
		return struct {
			*handle
			*sizer
			*preparer
		}{h, size, prepare}
	case fleet:
		return struct {
			*handle
			*sizer
		}{h, size}
	case hints && images:
		return struct {
			*handle
			*watcher
			*preparer
		}{h, watch, prepare}
	case hints:
		return struct {
			*handle
			*watcher
		}{h, watch}
	case images:
		return struct {
			*handle
			*preparer
		}{h, prepare}
	}
	return h
}

// Launch is backend.Backend's.
func (h *handle) Launch(ctx context.Context, spec backend.Spec) error {
	key := spec.Labels[provisioner.LabelTemplate]
	h.l.beginLaunch(spec)
	err := h.w.call(ctx, h.l, deed{
		op: "launch", key: key,
		effect: func(f Fate) error { return h.w.engine.launch(spec, f.Half) },
		told:   func() { h.l.know.launches[spec.ID].outcome = answered },
	})
	h.l.endLaunch(spec.ID, err)
	return err
}

// List is backend.Backend's.
func (h *handle) List(ctx context.Context) (backend.Listing, error) {
	listing := backend.Listing{Began: time.Now()}
	h.l.beginList()
	err := h.w.call(ctx, h.l, deed{
		op: "list",
		effect: func(Fate) (err error) {
			listing.Runners, err = h.w.engine.list()
			return err
		},
		told: func() { h.l.listed(listing) },
	})
	if err != nil {
		h.l.unlisted()
		return backend.Listing{}, err
	}
	return listing, nil
}

// Remove is backend.Backend's.
func (h *handle) Remove(ctx context.Context, id string) error {
	var gone <-chan struct{}
	key := h.l.beginRemove(id)
	return h.w.call(ctx, h.l, deed{
		op: "remove", key: key,
		effect: func(Fate) (err error) {
			gone, err = h.w.engine.remove(id)
			return err
		},
		await: func(ctx context.Context) error { return h.w.wait(ctx, h.l, gone) },
		told:  func() { h.l.removed(id) },
	})
}

type watcher struct{ h *handle }

// Watch is backend.Watcher's; it breaks now and then.
func (x *watcher) Watch(ctx context.Context, wake func()) error {
	w, l := x.h.w, x.h.l
	w.mu.Lock()
	if l.isDead() {
		w.mu.Unlock()
		time.Sleep(time.Second)
		return errDead
	}
	w.engine.watches++
	id := w.engine.watches
	w.engine.watchers[id] = wake
	life := 24 * time.Hour
	if !w.calm && w.setup.Engine != (Odds{}) {
		life = w.dice.about("watch", id).between(time.Second, 5*time.Minute)
	}
	w.mu.Unlock()
	wake()
	err := w.pause(ctx, l, life)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.engine.watchers, id)
	if err == nil {
		err = errors.New("sim: the watch broke")
	}
	return err
}

type sizer struct{ h *handle }

// Capacity is backend.Sizer's.
func (x *sizer) Capacity(ctx context.Context, specs []backend.Spec) ([]int, error) {
	room := make([]int, len(specs))
	err := x.h.w.call(ctx, x.h.l, deed{op: "capacity", effect: func(Fate) error {
		for i := range room {
			room[i] = x.h.w.engine.capacity()
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return room, nil
}

type preparer struct{ h *handle }

// Prepare is backend.Preparer's: the first fetch of an image takes its time.
func (x *preparer) Prepare(ctx context.Context, spec backend.Spec) error {
	w, l := x.h.w, x.h.l
	w.mu.Lock()
	there := w.engine.images[spec.Image]
	w.mu.Unlock()
	if !there {
		pull := w.dice.about("pull", spec.Image).between(0, 20*time.Second)
		if err := w.pause(ctx, l, pull); err != nil {
			return err
		}
	}
	return w.call(ctx, l, deed{
		op: "prepare", key: spec.Image,
		effect: func(Fate) error { w.engine.images[spec.Image] = true; return nil },
		told:   func() { l.know.prepared[spec.Image] = true },
	})
}
