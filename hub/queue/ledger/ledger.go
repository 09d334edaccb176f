package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/leasebook"
	"github.com/slipway-ci/slipway/hub/queue/topic"
	"github.com/slipway-ci/slipway/hub/store"
)

// Config says where the ledger is. All fields are needed.
type Config struct {
	// Store holds the tables.
	Store *store.Store
	// Book follows the leases as they come and go.
	Book *leasebook.Book
	// StorageFull says that nothing new may be granted. It is called often and must
	// be quick.
	StorageFull func() bool
}

// Ledger is the tables of the queue. Its methods may be called from many goroutines.
type Ledger struct {
	Config
	// Board wakes who waits for a change, once that is on disk.
	Board *topic.Board

	mu   sync.Mutex
	next time.Time // see Expect
}

// New makes the ledger of a store.
func New(cfg Config) *Ledger { return &Ledger{Config: cfg, Board: topic.NewBoard()} }

// Tx is a transaction of the domain: what it wakes is woken once it is on disk.
type Tx struct {
	*store.Tx
	// Now is the time of all that it does.
	Now time.Time

	ledger *Ledger
	wakes  map[string]struct{}
}

// Wake wakes the subscribers of topics once the transaction is on disk.
func (t *Tx) Wake(topics ...string) {
	for _, topic := range topics {
		t.wakes[topic] = struct{}{}
	}
}

func (l *Ledger) begin(s *store.Tx) *Tx {
	return &Tx{Tx: s, Now: time.Now(), ledger: l, wakes: map[string]struct{}{}}
}

// Write runs do in a transaction. Results that do leaves in variables count only
// when Write returns nil.
func (l *Ledger) Write(ctx context.Context, do func(*Tx) error) error {
	return l.Store.Write(ctx, func(s *store.Tx) error {
		t := l.begin(s)
		if err := do(t); err != nil {
			return err
		}
		t.After(func() { l.Board.Wake(slices.Collect(maps.Keys(t.wakes))...) })
		return nil
	})
}

// Read runs do on one snapshot of what is on disk.
func (l *Ledger) Read(ctx context.Context, do func(*Tx) error) error {
	return l.Store.Read(ctx, func(s *store.Tx) error { return do(l.begin(s)) })
}

// Expect notes when somebody looks next for what has expired.
func (l *Ledger) Expect(next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = next
}

// expiresAt wakes TopicExpiry when something expires sooner than Expect was told.
func (l *Ledger) expiresAt(at time.Time) {
	l.mu.Lock()
	sooner := at.Before(l.next)
	l.mu.Unlock()
	if sooner {
		l.Board.Wake(TopicExpiry)
	}
}

// ExpiresAt is to be called for what a transaction lets expire.
func (t *Tx) ExpiresAt(at time.Time) { t.After(func() { t.ledger.expiresAt(at) }) }

// Setting reads a setting of the data folder, or stores what first returns.
func (l *Ledger) Setting(ctx context.Context, name string, first func() string) (value string, err error) {
	err = l.Write(ctx, func(t *Tx) error {
		var found bool
		value, found, err = store.One(t.Tx, store.Value[string], `SELECT value FROM settings WHERE name = ?`, name)
		if err != nil || found {
			return err
		}
		value = first()
		_, err = t.Exec(`INSERT INTO settings (name, value) VALUES (?, ?)`, name, value)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("queue: setting %s: %w", name, err)
	}
	return value, nil
}
