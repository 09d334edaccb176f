// Package topic tells many who wait that something changed. It carries no state: who
// is woken looks for itself, so wakes coalesce and none need be kept.
package topic

import "sync"

// Board is where subscribers wait. Its methods may be called from many goroutines,
// and none of them waits.
type Board struct {
	mu     sync.Mutex
	topics map[string]map[*Subscription]struct{}
}

// NewBoard makes a board that nobody waits at.
func NewBoard() *Board { return &Board{topics: map[string]map[*Subscription]struct{}{}} }

// Subscription wakes its owner after changes.
type Subscription struct {
	// C receives after a change. Subscribe, then look, then wait on C.
	C      <-chan struct{}
	wake   chan struct{}
	topics []string
	board  *Board
}

// Subscribe returns a subscription to topics; the caller closes it.
func (b *Board) Subscribe(topics ...string) *Subscription {
	wake := make(chan struct{}, 1)
	s := &Subscription{C: wake, wake: wake, topics: topics, board: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range topics {
		if b.topics[topic] == nil {
			b.topics[topic] = map[*Subscription]struct{}{}
		}
		b.topics[topic][s] = struct{}{}
	}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	b := s.board
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range s.topics {
		delete(b.topics[topic], s)
		if len(b.topics[topic]) == 0 {
			delete(b.topics, topic)
		}
	}
}

// Wake wakes the subscribers of topics.
func (b *Board) Wake(topics ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range topics {
		for s := range b.topics[topic] {
			select {
			case s.wake <- struct{}{}:
			default: // it is awake already
			}
		}
	}
}
