package queue

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/dispatch"
	"github.com/slipway-ci/slipway/hub/queue/jobs"
	"github.com/slipway-ci/slipway/hub/queue/lease"
	"github.com/slipway-ci/slipway/hub/queue/leasebook"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// The rooms, by what Queue has of them: their methods, and no field.
type (
	jobsRoom     = jobs.Jobs
	dispatchRoom = dispatch.Dispatcher
	leaseRoom    = lease.Leases
	accessRoom   = access.Registry
)

// Queue is the job queue: the methods of all its rooms, which are jobs.Jobs,
// dispatch.Dispatcher, lease.Leases and access.Registry. They may be called from many
// goroutines. Run must be running for anything to expire in time.
type Queue struct {
	*jobsRoom
	*dispatchRoom
	*leaseRoom
	*accessRoom

	cfg       Config
	ledger    *ledger.Ledger
	workspace string
	sweeps    sweeps
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
	l := ledger.New(ledger.Config{
		Store: cfg.Store, StorageFull: cfg.StorageFull,
		Book: leasebook.New(leasebook.Config{TTL: cfg.LeaseTTL, Grace: cfg.LeaseGrace, TimeoutGrace: cfg.TimeoutGrace}),
	})
	q := &Queue{
		jobsRoom:     jobs.New(jobs.Config{Ledger: l, Vault: cfg.Vault, Timeout: cfg.JobTimeout}),
		dispatchRoom: dispatch.New(dispatch.Config{Ledger: l, ReservationTTL: cfg.ReservationTTL, MaxPollWait: cfg.MaxPollWait, Logger: cfg.Logger}),
		leaseRoom:    lease.New(lease.Config{Ledger: l, Vault: cfg.Vault, Logger: cfg.Logger}),
		accessRoom:   access.New(l),
		cfg:          cfg, ledger: l,
	}
	var err error
	if q.workspace, err = l.Setting(ctx, "workspace", ledger.NewID); err != nil {
		return nil, err
	}
	if err := l.LoadLeases(ctx); err != nil {
		return nil, err
	}
	return q, nil
}

// Workspace is the id of the one workspace that the queue is.
func (q *Queue) Workspace() string { return q.workspace }

// Config is what the queue works with, defaults filled in.
func (q *Queue) Config() Config { return q.cfg }

// Store is the store of the queue, for what else the hub keeps.
func (q *Queue) Store() *store.Store { return q.cfg.Store }

// Subscribe returns a subscription to topics; the caller closes it.
func (q *Queue) Subscribe(topics ...string) *Subscription { return q.ledger.Board.Subscribe(topics...) }

// Notify wakes the subscribers of topics: for parts of the hub that keep more of
// a job than the queue does, such as its log.
func (q *Queue) Notify(topics ...string) { q.ledger.Board.Wake(topics...) }

// Run expires reservations, leases and tokens until ctx ends; then it returns
// nil.
func (q *Queue) Run(ctx context.Context) error {
	sub := q.Subscribe(ledger.TopicExpiry)
	defer sub.Close()
	for {
		q.ledger.Expect(time.Now().Add(sweepInterval * 1000)) // what comes during the pass asks for another
		next, err := q.Expire(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			q.cfg.Logger.Error("expiry pass failed", "err", err)
			next = time.Now().Add(time.Second)
		}
		q.ledger.Expect(next)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-sub.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
