package fleet

import (
	"context"
	"maps"
	"time"

	"github.com/slipway-ci/slipway/tokens"
)

// batch is what is written together. Who has to wait for it waits for done.
type batch struct {
	ids  map[string]bool
	done chan struct{}
	err  error // written before done is closed
}

func newBatch() *batch { return &batch{ids: map[string]bool{}, done: make(chan struct{})} }

// save has the store take in what became of the record, soon. The lock is held.
func (f *Fleet) save(id string) *batch {
	f.unsaved.ids[id] = true
	select {
	case f.poked <- struct{}{}:
	default:
	}
	return f.unsaved
}

// saveAll writes batch after batch: one goroutine, so the newest state wins. It
// ends with ctx, after a last batch.
func (f *Fleet) saveAll(ctx context.Context) {
	for {
		select {
		case <-f.poked:
			f.saveBatch(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
			defer cancel()
			f.saveBatch(last)
			return
		}
	}
}

const (
	lastSave  = 5 * time.Second
	saveRetry = time.Second
)

func (f *Fleet) saveBatch(ctx context.Context) {
	f.mu.Lock()
	b := f.unsaved
	f.unsaved = newBatch()
	var put []Record
	var gone []string
	for id := range b.ids {
		if r := f.runners[id]; r != nil {
			put = append(put, r.kept())
		} else {
			gone = append(gone, id)
		}
	}
	f.unlock()
	if len(b.ids) > 0 {
		b.err = f.config.Store.Save(ctx, put, gone)
	}
	close(b.done)
	if b.err == nil || ctx.Err() != nil {
		return
	}
	f.log.Warn("save records", "err", tokens.Redact(b.err.Error()))
	f.mu.Lock()
	maps.Copy(f.unsaved.ids, b.ids) // level: what they are then is written
	f.unlock()
	time.AfterFunc(saveRetry, func() {
		select {
		case f.poked <- struct{}{}:
		default:
		}
	})
}

// wait waits until the batch is written.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
