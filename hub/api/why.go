package api

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/hub/api/waiting"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

type waitingAnswer struct {
	Body Waiting
}

func (s *Server) explainJob(ctx context.Context, in *jobInput) (*waitingAnswer, error) {
	job, err := s.Queue.Job(ctx, in.ID)
	if err != nil {
		return nil, s.fault(err)
	}
	var hub waiting.Hub
	if job.State == queue.StateQueued || job.State == queue.StateReserved {
		if hub, err = s.look(ctx, job.Labels); err != nil {
			return nil, s.fault(err)
		}
	}
	return &waitingAnswer{waiting.Explain(waiting.Job{State: job.State, Labels: job.Labels, Runner: jobOf(job).Runner}, hub)}, nil
}

// look is what may hold up a job with these labels.
func (s *Server) look(ctx context.Context, labels []string) (hub waiting.Hub, err error) {
	hub.Full = s.Queue.Config().StorageFull()
	if s.Info != nil {
		hub.Trouble = s.Info().ControlPlanes[scalesets.ControlPlaneQueue]
	}
	depth, err := s.Queue.Depth(ctx)
	if err != nil {
		return hub, err
	}
	hub.Queued = depth.Queued
	known, err := s.Queue.Tokens(ctx)
	if err != nil {
		return hub, err
	}
	for _, t := range known {
		if t.Kind == tokens.Provisioner && t.Good(time.Now()) {
			hub.Others++
		}
	}
	hub.Sets, err = s.sets(ctx, labels)
	return hub, err
}

// sets are the scale sets of the hub's own queue; hosts are looked at for those with
// the labels alone.
func (s *Server) sets(ctx context.Context, labels []string) ([]waiting.Set, error) {
	if s.ScaleSets == nil {
		return nil, nil
	}
	found, _, err := s.ScaleSets.List(ctx, scalesets.Filter{ControlPlane: scalesets.ControlPlaneQueue})
	if err != nil {
		return nil, err
	}
	held, sets := s.held(ctx), make([]waiting.Set, len(found))
	for i, set := range found {
		sets[i] = waiting.Set{Name: set.Key, Labels: set.Labels, Runners: held[set.Key], Max: set.MaxConcurrency}
		if s.Fleet == nil || !template.Covers(set.Labels, labels) {
			continue
		}
		if s.Statuses != nil {
			is := s.Statuses([]scalesets.ScaleSet{set})[0]
			if is.Condition == scalesets.Failing {
				sets[i].Failing = tokens.Redact(is.Text)
			}
			if !is.RetryAt.IsZero() {
				sets[i].RetryIn = time.Until(is.RetryAt)
			}
		}
		sets[i].Hosts = s.Fleet.Explain(set.Key)
		for h := range sets[i].Hosts {
			v := &sets[i].Hosts[h]
			v.Reason, v.LastFailure = tokens.Redact(v.Reason), tokens.Redact(v.LastFailure)
		}
	}
	return sets, nil
}
