package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// Queue is the job queue. Its methods may be called from many goroutines. Run
// must be running for anything to expire in time.
type Queue struct {
	cfg       Config
	store     *store.Store
	signer    signer
	vault     *vault.Vault
	notify    *notifier
	leases    *leaseBook
	limits    *limiter
	workspace string

	mu    sync.Mutex
	next  time.Time            // when Run looks for what has expired
	swept time.Time            // when it last deleted what is of no use
	told  map[string]time.Time // when a terminate intent last went out, by runner
	seen  map[string]time.Time // when a provisioner was last marked as seen
}

// New opens the queue in cfg.Store. Leases that had not ended get a full life.
func New(ctx context.Context, cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Vault == nil {
		v, err := vault.Open(ctx, vault.Config{Store: cfg.Store, Logger: cfg.Logger})
		if err != nil {
			return nil, err
		}
		cfg.Vault = v
	}
	var err error
	q := &Queue{
		cfg: cfg, store: cfg.Store, signer: newSigner(cfg.Vault.Derive("runner sessions")),
		vault: cfg.Vault, notify: newNotifier(), limits: newLimiter(),
		leases: newLeaseBook(cfg), told: map[string]time.Time{}, seen: map[string]time.Time{},
	}
	if q.workspace, err = q.setting(ctx, "workspace", newID); err != nil {
		return nil, err
	}
	if err := q.loadLeases(ctx); err != nil {
		return nil, err
	}
	return q, nil
}

// Workspace is the id of the one workspace that the queue is.
func (q *Queue) Workspace() string { return q.workspace }

// Config is what the queue works with, defaults filled in.
func (q *Queue) Config() Config { return q.cfg }

// Store is the store of the queue, for what else the hub keeps.
func (q *Queue) Store() *store.Store { return q.store }

// Run expires reservations, leases and tokens until ctx ends; then it returns
// nil.
func (q *Queue) Run(ctx context.Context) error {
	sub := q.Subscribe(topicExpiry)
	defer sub.Close()
	for {
		q.expect(time.Now().Add(sweepInterval * 1000)) // what comes during the pass asks for another
		next, err := q.Expire(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			q.cfg.Logger.Error("expiry pass failed", "err", err)
			next = time.Now().Add(time.Second)
		}
		q.expect(next)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-sub.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// expect notes when Run looks next.
func (q *Queue) expect(next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next = next
}

// expiresAt wakes Run when something expires before it looks next.
func (q *Queue) expiresAt(at time.Time) {
	q.mu.Lock()
	sooner := at.Before(q.next)
	q.mu.Unlock()
	if sooner {
		q.notify.wake([]string{topicExpiry})
	}
}

// tx is a transaction of the domain: what it wakes is woken once it is on disk.
type tx struct {
	*store.Tx
	now   time.Time
	q     *Queue
	wakes map[string]struct{}
	then  []func()
}

func (t *tx) wake(topics ...string) {
	for _, topic := range topics {
		t.wakes[topic] = struct{}{}
	}
}

// after runs do once the transaction is on disk.
func (t *tx) after(do func()) { t.then = append(t.then, do) }

// write runs do in a transaction. do may run only once, and results that it
// leaves in variables count only when write returns nil.
func (q *Queue) write(ctx context.Context, do func(*tx) error) error {
	var t *tx
	err := q.store.Write(ctx, func(s *store.Tx) error {
		t = &tx{Tx: s, now: time.Now(), q: q, wakes: map[string]struct{}{}}
		return do(t)
	})
	if err != nil {
		return err
	}
	for _, do := range t.then {
		do()
	}
	q.notify.wake(slices.Collect(maps.Keys(t.wakes)))
	return nil
}

func (q *Queue) read(ctx context.Context, do func(*tx) error) error {
	return q.store.Read(ctx, func(s *store.Tx) error {
		return do(&tx{Tx: s, now: time.Now(), q: q, wakes: map[string]struct{}{}})
	})
}

// setting reads a setting, or stores what first returns.
func (q *Queue) setting(ctx context.Context, name string, first func() string) (value string, err error) {
	err = q.write(ctx, func(t *tx) error {
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

// newID makes a UUIDv7.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(errors.Join(errors.New("queue: no randomness"), err))
	}
	return id.String()
}

// Times are stored in milliseconds; 0 and NULL are the zero time.
func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func fromNullable(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return fromMillis(*ms)
}

// A label set is stored joined; a comma is in no label.
func joinLabels(labels []string) string { return strings.Join(labels, ",") }

func splitLabels(set string) []string {
	if set == "" {
		return nil
	}
	return strings.Split(set, ",")
}
