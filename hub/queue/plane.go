package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// LabelInstance is the label that holds the queue's own id of a runner.
const LabelInstance = "runner-instance-id"

// ControlPlaneConfig says what a loop in this process asks for.
type ControlPlaneConfig struct {
	// Name of the provisioner; default "local". Its id, the owner of what it
	// launches, stays the same for as long as the data folder does.
	Name string
	// RunnerURL is where the runners reach this hub. Required, unless RunnerAt is set.
	RunnerURL string
	// RunnerAt, when it is set, is asked for it with each registration: where runners
	// reach a hub may change while it runs.
	RunnerAt func() string
	// ProviderKind names the backend to the runners; default "process".
	ProviderKind string
	// PollMaxDuration is how long a runner waits for a job; default 5 min.
	PollMaxDuration time.Duration
	// MaxLifetime of a runner, as it is told to the runner; default 1 h.
	MaxLifetime time.Duration
}

func (c ControlPlaneConfig) withDefaults() ControlPlaneConfig {
	if c.Name == "" {
		c.Name = "local"
	}
	if c.RunnerAt == nil {
		fixed := c.RunnerURL
		c.RunnerAt = func() string { return fixed }
	}
	if c.ProviderKind == "" {
		c.ProviderKind = "process"
	}
	if c.PollMaxDuration == 0 {
		c.PollMaxDuration = 5 * time.Minute
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = time.Hour
	}
	return c
}

// ControlPlane is the queue as the control plane of a loop in this process. It is
// a provisioner of the newest generation, without the HTTP between.
type ControlPlane struct {
	q    *Queue
	cfg  ControlPlaneConfig
	self Provisioner
}

var (
	_ provisioner.ControlPlane = (*ControlPlane)(nil)
	_ provisioner.Announcer    = (*ControlPlane)(nil)
	_ provisioner.Knower       = (*ControlPlane)(nil)
	_ provisioner.Retirer      = (*ControlPlane)(nil)
)

// ControlPlane makes the queue the control plane of a loop in this process.
func (q *Queue) ControlPlane(ctx context.Context, cfg ControlPlaneConfig) (*ControlPlane, error) {
	cfg = cfg.withDefaults()
	if cfg.RunnerAt() == "" {
		return nil, errors.New("queue: control plane: RunnerURL is empty")
	}
	self, err := q.localProvisioner(ctx, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("queue: control plane: %w", err)
	}
	return &ControlPlane{q: q, cfg: cfg, self: self}, nil
}

// Identify tells the id that the provisioner has in this data folder.
func (c *ControlPlane) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{ID: c.self.ID, Scope: "workspace", Workspace: c.q.workspace}, nil
}

// Poll is Queue.Poll. Retire and its like are never needed for what it grants.
func (c *ControlPlane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	req := PollRequest{Wait: ad.Wait, TTL: ad.ReservationLifetime, Max: ad.MaxReservations}
	for _, s := range ad.Templates {
		req.Slots = append(req.Slots, grant.Slots{Key: s.Template, Labels: s.Labels, Free: s.Free})
	}
	answer, err := c.q.Poll(ctx, c.self, req)
	if err != nil {
		return provisioner.Demand{}, err
	}
	var demand provisioner.Demand
	for _, r := range answer.Reservations {
		demand.Grants = append(demand.Grants, provisioner.Grant{Reservation: r.ID, Labels: r.Labels, Count: r.Count, Lifetime: r.TTL})
	}
	for _, intent := range answer.Terminate {
		demand.Facts = append(demand.Facts, provisioner.Fact{Runner: intent.Runner, Unwanted: true, Reason: intent.Reason})
	}
	for _, s := range answer.Stats {
		demand.Stats = append(demand.Stats, provisioner.Stat{
			Labels: s.Labels, Queued: s.Queued, Reserved: s.Reserved, Oldest: max(time.Since(s.Oldest), 0),
		})
	}
	return demand, nil
}

// Mint makes bootstrap tokens; warm runners may be asked for.
func (c *ControlPlane) Mint(ctx context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	wanted := make([]InstanceRequest, len(requests))
	for i, r := range requests {
		wanted[i] = InstanceRequest{Template: r.Template, Reservation: r.Reservation, ProviderID: r.Runner, Labels: r.Labels}
	}
	instances, err := c.q.Mint(ctx, c.self, wanted)
	if err != nil {
		return nil, err
	}
	registrations := make([]provisioner.Registration, len(instances))
	for i, instance := range instances {
		registrations[i] = c.registration(requests[instance.Index], instance)
	}
	return registrations, nil
}

func (c *ControlPlane) registration(request provisioner.MintRequest, instance Instance) provisioner.Registration {
	return provisioner.Registration{
		Runner: request.Runner,
		Env: map[string]string{
			"SHIPFOX_API_URL":                     c.cfg.RunnerAt(),
			"SHIPFOX_RUNNER_BOOTSTRAP_TOKEN":      instance.Token.Reveal(),
			"SHIPFOX_RUNNER_LABELS":               strings.Join(request.Labels, ","),
			"SHIPFOX_RUNNER_PROVIDER_KIND":        c.cfg.ProviderKind,
			"SHIPFOX_POLL_MAX_DURATION_MS":        strconv.FormatInt(c.cfg.PollMaxDuration.Milliseconds(), 10),
			"SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS": strconv.FormatInt(int64(c.cfg.MaxLifetime/time.Second), 10),
		},
		Labels:   map[string]string{LabelInstance: instance.ID},
		Lifetime: instance.Lifetime,
	}
}

// Announce refuses a runner that was not minted here, has ended, or is unwanted.
func (c *ControlPlane) Announce(ctx context.Context, ref provisioner.Ref) error {
	return c.q.read(ctx, func(t *tx) error {
		r, found, err := t.runnerOf(c.self, ref.ID)
		if err != nil {
			return err
		}
		if !found || r.ended() || r.retired || r.intent != "" {
			return fmt.Errorf("announce runner %s: %w", ref.ID, provisioner.ErrRefused)
		}
		return nil
	})
}

// Report is Queue.Report.
func (c *ControlPlane) Report(ctx context.Context, events []provisioner.Event) error {
	reports := make([]RunnerEvent, len(events))
	for i, e := range events {
		labels := splitLabels(e.Labels[provisioner.LabelLabels])
		if len(labels) > 0 {
			var err error
			if labels, err = template.Canonical(labels); err != nil {
				return fmt.Errorf("report runner %s: %w: %w", e.Runner, provisioner.ErrRejected, err)
			}
		}
		reports[i] = RunnerEvent{
			ProviderID: e.Runner, Reservation: e.Labels[provisioner.LabelReservation], Template: e.Labels[provisioner.LabelTemplate],
			Labels: labels, State: RunnerState(e.State), Reason: e.Reason, At: e.At, Kind: c.cfg.ProviderKind,
		}
		if e.Runner == "" || !reports[i].State.Valid() {
			return fmt.Errorf("report runner %q as %q: %w", e.Runner, e.State, provisioner.ErrRejected)
		}
	}
	_, _, err := c.q.Report(ctx, c.self, reports)
	return err
}

// Facts tells all that the queue knows, which is everything. A runner that it
// never heard of is left out.
func (c *ControlPlane) Facts(ctx context.Context, refs []provisioner.Ref) ([]provisioner.Fact, error) {
	facts := make([]provisioner.Fact, 0, len(refs))
	err := c.q.read(ctx, func(t *tx) error {
		facts = facts[:0]
		for part := range slices.Chunk(refs, factsAtOnce) {
			told, err := t.facts(c.self, part)
			if err != nil {
				return err
			}
			facts = append(facts, told...)
		}
		return nil
	})
	return facts, err
}

// factsAtOnce is how many runners one query asks about: a fleet has thousands, and
// a query for each of them costs more than all else that a loop does.
const factsAtOnce = 1000

func (t *tx) facts(p Provisioner, refs []provisioner.Ref) ([]provisioner.Fact, error) {
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	// One whose lease was lost has nothing to do any more: it is here again after a cut.
	return store.All(t.Tx, scanFact, `SELECT r.provider_runner_id, r.enrolled_at IS NOT NULL OR r.session_id IS NOT NULL,
		CASE WHEN r.intent = '' AND EXISTS (SELECT 1 FROM leases l WHERE l.runner_id = r.id AND l.ended_by = 'lost') THEN 'lease-lost' ELSE r.intent END,
		(SELECT l.job_id FROM leases l WHERE l.runner_id = r.id ORDER BY l.id DESC LIMIT 1)
		FROM json_each(?) asked CROSS JOIN runners r ON r.provisioner_id = ? AND r.provider_runner_id = asked.value`, string(list), p.ID)
}

func scanFact(row store.Row) (provisioner.Fact, error) {
	var (
		f          provisioner.Fact
		registered bool
		job        *string
	)
	if err := row.Scan(&f.Runner, &registered, &f.Reason, &job); err != nil {
		return f, err
	}
	f.Registered, f.Busy, f.Unwanted = provisioner.Is(registered), provisioner.Is(job != nil), f.Reason != ""
	if job != nil {
		f.Job = *job
	}
	return f, nil
}

// leasedBy is the job that a runner has or had.
func (t *tx) leasedBy(runner string) (job string, found bool, err error) {
	return store.One(t.Tx, store.Value[string], `SELECT job_id FROM leases WHERE runner_id = ? ORDER BY id DESC LIMIT 1`, runner)
}

// Retire fences runners: one that is returned never gets a job. Those that have
// one, or were given one, are left out, and so are unknown ones.
func (c *ControlPlane) Retire(ctx context.Context, refs []provisioner.Ref) (retired []string, err error) {
	err = c.q.write(ctx, func(t *tx) error {
		gone := map[string]bool{}
		for _, ref := range refs {
			r, found, err := t.runnerOf(c.self, ref.ID)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			fenced, err := t.retire(r)
			if err != nil {
				return err
			}
			if fenced {
				gone[ref.ID] = true
			}
		}
		retired = slices.Sorted(maps.Keys(gone))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue: retire runners: %w", err)
	}
	return retired, nil
}

func (t *tx) retire(r runner) (bool, error) {
	_, busy, err := t.leasedBy(r.id)
	if err != nil || busy {
		return false, err
	}
	meant, err := t.meantFor(r.id)
	if err != nil || r.reservation != "" && len(meant) > 0 {
		return false, err // it was given a job, and is on its way to claim it
	}
	if _, err := t.Exec(`UPDATE runners SET retired_at = coalesce(retired_at, ?) WHERE id = ?`, millis(t.now), r.id); err != nil {
		return false, err
	}
	t.wake(topicRunner(r.id))
	// A job that it was launched for, and never came for, goes to another.
	return true, t.requeueOf(r.id, "runner retired")
}
