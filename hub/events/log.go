package events

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
)

// Log is the event log and the audit log. Its methods may be called from many
// goroutines. Run must be running for what is told to be stored, and for
// anything old to be deleted.
type Log struct {
	cfg     Config
	store   *store.Store
	life    string // this process's, as opposed to earlier ones
	refused *refusals
	wake    chan struct{} // something was told; of one

	mu   sync.Mutex
	told []Event
	lost int // told while there was no room
}

// New returns the log in the queue's store.
func New(cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Log{cfg: cfg, store: cfg.Queue.Store(), life: uuid.NewString(), refused: newRefusals(), wake: make(chan struct{}, 1)}, nil
}

// topic is woken by every event that is not of a job.
const topic = "events"

// Subscribe returns a subscription that is woken by all events, those of jobs
// included, and by further topics of the queue. The caller closes it.
func (l *Log) Subscribe(topics ...string) *queue.Subscription {
	return l.cfg.Queue.Subscribe(append(topics, topic, queue.TopicJobs)...)
}

// Append stores events: when it returns nil they are on disk.
func (l *Log) Append(ctx context.Context, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	err := l.write(ctx, func(tx *store.Tx) error { return AppendTx(tx, events...) })
	if err != nil {
		return fmt.Errorf("events: append: %w", err)
	}
	return nil
}

// AppendTx stores events as part of a transaction, so that they happened exactly
// when it did. Call Wake once it is on disk.
func AppendTx(tx *store.Tx, events ...Event) error {
	now := time.Now()
	for _, e := range events {
		e = e.normal(now)
		if again, err := endedAlready(tx, e); err != nil {
			return err
		} else if again {
			continue
		}
		if _, err := tx.Exec(`INSERT INTO events (seq, at, kind, object, text)
			VALUES ((SELECT 1 + max(seq, (SELECT coalesce(max(seq), 0) FROM events)) FROM sqlite_sequence WHERE name = 'job_events'), ?, ?, ?, ?)`,
			e.At.UnixMilli(), e.Kind, e.Object, e.Text); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM events) WHERE name = 'job_events'`); err != nil {
			return err
		}
	}
	return nil
}

// endedAlready says whether the event tells of a runner's end that was told before: a
// hub that starts again sees those that are kept for a post-mortem, and can't know
// which of them ended meanwhile.
func endedAlready(tx *store.Tx, e Event) (bool, error) {
	if !slices.Contains(ends, e.Kind) {
		return false, nil
	}
	last, _, err := store.One(tx, store.Value[string], `SELECT kind FROM events WHERE object = ? ORDER BY seq DESC LIMIT 1`, e.Object)
	return slices.Contains(ends, last), err
}

// Wake wakes the readers.
func (l *Log) Wake() { l.cfg.Queue.Notify(topic) }

func (l *Log) write(ctx context.Context, do func(*store.Tx) error) error {
	err := l.cfg.Guard(func() error { return l.store.Write(ctx, do) })
	if err == nil {
		l.Wake()
	}
	return err
}

// mostTold bounds what waits to be stored.
const mostTold = 10_000

// Tell has an event stored soon. It never waits, so that it may be called with
// locks held; a crash may lose what was told in the moment before it.
func (l *Log) Tell(kind, object, text string) {
	e := Event{Kind: kind, Object: object, Text: text}.normal(time.Now())
	l.mu.Lock()
	if len(l.told) < mostTold {
		l.told = append(l.told, e)
	} else {
		l.lost++
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // it is awake already
	}
}

// batch bounds one transaction.
const batch = 500

// flushTimeout bounds the wait for a write to begin.
const flushTimeout = 10 * time.Second

// flush stores what was told, also when ctx has ended. What can't be stored is
// lost, and that is logged.
func (l *Log) flush(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	l.mu.Lock()
	told, lost := l.told, l.lost
	l.told, l.lost = nil, 0
	l.mu.Unlock()
	if lost > 0 {
		l.cfg.Logger.Warn("events lost: too many at once", "count", lost)
		told = append(told, Event{At: time.Now(), Kind: "events-lost", Object: "hub", Text: fmt.Sprintf("events that were not stored, since there were too many at once: %d", lost)})
	}
	for part := range slices.Chunk(told, batch) {
		brief, cancel := context.WithTimeout(ctx, flushTimeout)
		if err := l.Append(brief, part...); err != nil {
			l.cfg.Logger.Error("events lost", "count", len(part), "err", err)
		}
		cancel()
	}
}

// Run stores what is told and deletes what is old, until ctx ends; then it stores
// the last of what was told and returns nil.
func (l *Log) Run(ctx context.Context) error {
	sweep := time.NewTicker(time.Hour)
	defer sweep.Stop()
	if err := l.recall(ctx); err != nil && ctx.Err() == nil {
		l.cfg.Logger.Error("audit entries of an earlier start", "err", err)
	}
	l.prune(ctx)
	for {
		select {
		case <-l.wake:
			l.flush(ctx)
		case <-sweep.C:
			l.prune(ctx)
		case <-ctx.Done():
			l.flush(ctx)
			return nil
		}
	}
}

func (l *Log) prune(ctx context.Context) {
	for {
		n, err := l.Prune(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			l.cfg.Logger.Error("delete old events", "err", err)
		}
		if err != nil || n == 0 {
			return
		}
	}
}
