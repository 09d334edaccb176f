package hosts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/hosts/records"
	"github.com/slipway-ci/slipway/hub/hosts/rollout"
	"github.com/slipway-ci/slipway/hub/hosts/seen"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Fleet is what the registry needs of a *fleet.Fleet.
type Fleet interface {
	// Hosts tells how all hosts do, Host how one does.
	Hosts() []fleet.HostState
	Host(id string) (st fleet.HostState, known bool)
	// SetHost sets what is set for a host.
	SetHost(host fleet.Host) error
	// Forget discards a host with its records.
	Forget(id string, force bool) error
	// Runner is one runner as it is known, and the id of its host.
	Runner(ctx context.Context, id string) (r backend.Runner, hostID string, ok bool)
	// RotateToken has a host's agent make a new credential.
	RotateToken(ctx context.Context, host string) (next tokens.Digest, err error)
	// Reconnect ends a host's connection; its agent comes back at once.
	Reconnect(ctx context.Context, host string) error
	// SendAway ends a host's connection, and tells its agent why.
	SendAway(host string, why error)
	// Update has a host's agent become another version.
	Update(ctx context.Context, host, version string) error
}

var _ Fleet = (*fleet.Fleet)(nil)

// Terminator ends runners: the loops that launch them.
type Terminator interface {
	// Terminate asks for the end of runners. It may be repeated, and must not wait.
	Terminate(runners []string, reason string)
	// Retire asks for the end of those that have no job, each as soon as that is
	// known. It may be repeated, and must not wait.
	Retire(runners []string, reason string)
}

// Registry is the hosts of a hub. Its methods may be called from many goroutines.
// Run must be running for drains and updates to go on.
type Registry struct {
	cfg   Config
	log   hclog.Logger
	store *store.Store
	base  string // the public URL
	poked chan struct{}
	// rollouts carries out the updates of agents.
	rollouts *rollout.Rollouts
	seen     *seen.Book

	applying sync.Mutex // of rows to the fleet, so that the newest is applied last

	mu     sync.Mutex
	fleet  Fleet
	ender  Terminator
	ending map[string]time.Time // when the runners of a host were last asked to end
	// retiring is the same of those that have no job.
	retiring map[string]time.Time
}

// New opens the registry in cfg.Store. Error: ErrConfig.
func New(_ context.Context, cfg Config) (*Registry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := form.PublicURL(cfg.PublicURL, cfg.InsecureHTTP)
	if err != nil {
		return nil, fmt.Errorf("%w: field PublicURL %w", ErrConfig, err)
	}
	r := &Registry{
		cfg: cfg, log: cfg.Logger, store: cfg.Store, base: base, poked: make(chan struct{}, 1),
		seen: seen.New(), ending: map[string]time.Time{}, retiring: map[string]time.Time{},
	}
	r.rollouts = rollout.New(rollout.Config{Store: cfg.Store, Timeout: cfg.UpdateTimeout, Tell: r.tellUpdate, Changed: r.poke, Logger: cfg.Logger})
	return r, nil
}

// Bind tells f of every host, and of every change from here on; and asks it from
// here on what goes on there. Call it before f.Run.
func (r *Registry) Bind(ctx context.Context, f Fleet) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	var all []Host
	err := r.read(ctx, func(t *tx) (err error) {
		all, err = store.All(t.Tx, scanHost, hostQuery+`true ORDER BY h.id`)
		return err
	})
	if err != nil {
		return fmt.Errorf("hosts: bind fleet: %w", err)
	}
	for _, h := range all {
		if err := f.SetHost(h.setting()); err != nil {
			return fmt.Errorf("hosts: bind fleet: %w", err)
		}
	}
	r.mu.Lock()
	r.fleet = f
	r.mu.Unlock()
	r.poke()
	return nil
}

// BindTerminator says who ends what still runs when a drain's deadline comes.
func (r *Registry) BindTerminator(t Terminator) {
	r.mu.Lock()
	r.ender = t
	r.mu.Unlock()
	r.poke()
}

// Records is where the fleet keeps what it must know of runners after a restart:
// for fleet.Config.
func (r *Registry) Records() fleet.Store {
	return records.Store{DB: r.store, TooLate: func(ctx context.Context, late []string) error {
		_, err := r.revoke(ctx, func(*tx) ([]string, error) { return late, nil })
		return err
	}}
}

// PublicURL is the hub's own URL, without a slash at its end; empty: not set.
func (r *Registry) PublicURL() string { return r.base }

func (r *Registry) bound() Fleet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fleet
}

// states are the fleet's, by id; none without a fleet.
func (r *Registry) states() map[string]fleet.HostState {
	f := r.bound()
	if f == nil {
		return nil
	}
	list := f.Hosts()
	states := make(map[string]fleet.HostState, len(list))
	for _, st := range list {
		states[st.ID] = st
	}
	return states
}

// apply tells the fleet what is set for a host now.
func (r *Registry) apply(ctx context.Context, id string) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	f := r.bound()
	if f == nil {
		return nil
	}
	h, err := r.Host(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil // removed meanwhile
	}
	if err == nil {
		err = f.SetHost(h.setting())
	}
	if err != nil {
		return fmt.Errorf("hosts: tell the fleet of %s: %w", id, err)
	}
	return nil
}

// applied is apply after a write: what was written stays, whatever the caller's
// context does.
func (r *Registry) applied(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyTimeout)
	defer cancel()
	if err := r.apply(ctx, id); err != nil {
		r.log.Error("apply a change", "host", id, "err", tokens.Redact(err.Error()))
	}
	r.poke()
}

const applyTimeout = 10 * time.Second

// poke has Run look at once.
func (r *Registry) poke() {
	select {
	case r.poked <- struct{}{}:
	default:
	}
}

// tx is a transaction of the registry.
type tx struct {
	*store.Tx
	now  time.Time
	then []func()
}

func newTx(s *store.Tx) *tx { return &tx{Tx: s, now: time.Now()} }

// after runs do once the transaction is on disk.
func (t *tx) after(do func()) { t.then = append(t.then, do) }

// write runs do in a transaction. What it leaves in variables counts only when
// write returns nil.
func (r *Registry) write(ctx context.Context, do func(*tx) error) error {
	var t *tx
	err := r.store.Write(ctx, func(s *store.Tx) error {
		t = newTx(s)
		return do(t)
	})
	if err != nil {
		return err
	}
	for _, do := range t.then {
		do()
	}
	return nil
}

func (r *Registry) read(ctx context.Context, do func(*tx) error) error {
	return r.store.Read(ctx, func(s *store.Tx) error { return do(newTx(s)) })
}

// tell is an event, once the transaction is on disk.
func (r *Registry) tell(t *tx, kind string, h Host, text string) {
	t.after(func() { r.said(kind, h, text) })
}

func (r *Registry) said(kind string, h Host, text string) {
	r.log.Info(text, "host", h.Name, "reason", kind)
	r.cfg.Events(kind, h.object(), text)
}

// newID makes a UUIDv7.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
