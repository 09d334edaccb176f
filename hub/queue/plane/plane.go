// Package plane makes a queue the control plane of a loop in the same process: a
// provisioner of the newest generation, without the HTTP between.
package plane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// LabelInstance is the label that holds the queue's own id of a runner.
const LabelInstance = "runner-instance-id"

// ControlPlane is the queue as the control plane of a loop in this process. It is
// a provisioner of the newest generation, without the HTTP between.
type ControlPlane struct {
	q    *queue.Queue
	cfg  Config
	self queue.Provisioner
}

var (
	_ provisioner.ControlPlane = (*ControlPlane)(nil)
	_ provisioner.Announcer    = (*ControlPlane)(nil)
	_ provisioner.Knower       = (*ControlPlane)(nil)
	_ provisioner.Retirer      = (*ControlPlane)(nil)
)

// New makes a queue the control plane of a loop in this process.
func New(ctx context.Context, q *queue.Queue, cfg Config) (*ControlPlane, error) {
	cfg = cfg.withDefaults()
	if cfg.RunnerAt() == "" {
		return nil, errors.New("plane: RunnerURL is empty")
	}
	self, err := q.LocalProvisioner(ctx, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("plane: %w", err)
	}
	return &ControlPlane{q: q, cfg: cfg, self: self}, nil
}

// Identify tells the id that the provisioner has in this data folder.
func (c *ControlPlane) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{ID: c.self.ID, Scope: "workspace", Workspace: c.q.Workspace()}, nil
}

// Poll is queue.Poll. Retire and its like are never needed for what it grants.
func (c *ControlPlane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	req := queue.PollRequest{Wait: ad.Wait, TTL: ad.ReservationLifetime, Max: ad.MaxReservations}
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
	wanted := make([]queue.InstanceRequest, len(requests))
	for i, r := range requests {
		wanted[i] = queue.InstanceRequest{Template: r.Template, Reservation: r.Reservation, ProviderID: r.Runner, Labels: r.Labels}
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

func (c *ControlPlane) registration(request provisioner.MintRequest, instance queue.Instance) provisioner.Registration {
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
	launchable, err := c.q.Launchable(ctx, c.self, ref.ID)
	if err != nil {
		return err
	}
	if !launchable {
		return fmt.Errorf("announce runner %s: %w", ref.ID, provisioner.ErrRefused)
	}
	return nil
}

// Report is Queue.Report.
func (c *ControlPlane) Report(ctx context.Context, events []provisioner.Event) error {
	reports := make([]queue.RunnerEvent, len(events))
	for i, e := range events {
		var labels []string
		if set := e.Labels[provisioner.LabelLabels]; set != "" {
			var err error
			if labels, err = template.Canonical(strings.Split(set, ",")); err != nil {
				return fmt.Errorf("report runner %s: %w: %w", e.Runner, provisioner.ErrRejected, err)
			}
		}
		reports[i] = queue.RunnerEvent{
			ProviderID: e.Runner, Reservation: e.Labels[provisioner.LabelReservation], Template: e.Labels[provisioner.LabelTemplate],
			Labels: labels, State: queue.RunnerState(e.State), Reason: e.Reason, At: e.At, Kind: c.cfg.ProviderKind,
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
	known, err := c.q.Facts(ctx, c.self, ids(refs))
	if err != nil {
		return nil, err
	}
	facts := make([]provisioner.Fact, len(known))
	for i, f := range known {
		facts[i] = provisioner.Fact{
			Runner: f.ProviderID, Registered: provisioner.Is(f.Registered), Busy: provisioner.Is(f.Job != ""), Job: f.Job,
			Unwanted: f.Unwanted != "", Reason: f.Unwanted,
		}
	}
	return facts, nil
}

// Retire is queue.Retire.
func (c *ControlPlane) Retire(ctx context.Context, refs []provisioner.Ref) (retired []string, err error) {
	return c.q.Retire(ctx, c.self, ids(refs))
}

func ids(refs []provisioner.Ref) []string {
	out := make([]string, len(refs))
	for i, ref := range refs {
		out[i] = ref.ID
	}
	return out
}
