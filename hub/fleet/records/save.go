package records

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/tokens"
)

// Saver has a Store written: one batch after the other, so that the newest state wins.
// Its methods may be called from many goroutines.
type Saver struct {
	store Store
	look  func(ids map[string]bool) (put []Record, gone []string)
	log   hclog.Logger
	poked chan struct{} // there is something to write; of one

	mu   sync.Mutex
	next *Batch
}

// NewSaver makes a Saver for a store. look tells what has become of runners: their
// records, and the ids of those that have none any more. It is called without a lock.
func NewSaver(store Store, look func(ids map[string]bool) (put []Record, gone []string), log hclog.Logger) *Saver {
	return &Saver{store: store, look: look, log: log, poked: make(chan struct{}, 1), next: newBatch()}
}

// Batch is what is written together.
type Batch struct {
	ids  map[string]bool
	done chan struct{}
	err  error // written before done is closed
}

func newBatch() *Batch { return &Batch{ids: map[string]bool{}, done: make(chan struct{})} }

// Wait waits until the batch is written, or could not be.
func (b *Batch) Wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Save has the store take in what has become of a runner, soon. It waits for nothing.
func (s *Saver) Save(id string) *Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.ids[id] = true
	s.poke()
	return s.next
}

func (s *Saver) poke() {
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

const (
	lastSave  = 5 * time.Second
	saveRetry = time.Second
)

// Run writes until ctx ends, and then a last batch: what was being written then is in
// it, too.
func (s *Saver) Run(ctx context.Context) {
	for {
		select {
		case <-s.poked:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		s.write(ctx)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
	defer cancel()
	s.write(last)
}

func (s *Saver) write(ctx context.Context) {
	s.mu.Lock()
	b := s.next
	s.next = newBatch()
	s.mu.Unlock()
	if len(b.ids) > 0 {
		put, gone := s.look(b.ids)
		b.err = s.store.Save(ctx, put, gone)
	}
	close(b.done)
	if b.err == nil {
		return
	}
	if ctx.Err() == nil {
		s.log.Warn("save records", "err", tokens.Redact(b.err.Error()))
	}
	s.mu.Lock()
	maps.Copy(s.next.ids, b.ids) // level: what they are then is written
	s.mu.Unlock()
	time.AfterFunc(saveRetry, s.poke)
}
