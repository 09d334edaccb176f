package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

var _ provisioner.ControlPlane = (*Plane)(nil)

// Job is a command that waits for a runner with these labels (canonical).
type Job struct {
	Labels, Command []string
}

// grantLife is how long a job stays promised to a runner that nobody minted.
const grantLife = time.Minute

// Plane is the smallest control plane that does its work: jobs come in over a
// channel, and a line for each that ended goes out over another. Each runner is
// launched for one job, with the job's command: no runner program is needed, and
// no API.
type Plane struct {
	jobs    <-chan Job
	results chan<- string

	mu      sync.Mutex
	waiting []Job            // taken from the channel, promised to nobody
	granted map[string]grant // by reservation: promised, not yet minted
	minted  map[string]Job   // by runner
}

type grant struct {
	job Job
	at  time.Time
}

// NewPlane makes a Plane that reads jobs and writes results.
func NewPlane(jobs <-chan Job, results chan<- string) *Plane {
	return &Plane{jobs: jobs, results: results, granted: map[string]grant{}, minted: map[string]Job{}}
}

// Identify names the owner of what is launched.
func (p *Plane) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{ID: "embed"}, nil
}

// Poll promises the first job that fits a free slot, or waits for one.
func (p *Plane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	wait := time.NewTimer(ad.Wait)
	defer wait.Stop()
	for {
		if demand := p.promise(ad); !demand.Empty() || ad.Free() == 0 || ad.MaxReservations == 0 {
			return demand, nil
		}
		select {
		case job := <-p.jobs:
			p.mu.Lock()
			p.waiting = append(p.waiting, job)
			p.mu.Unlock()
		case <-wait.C:
			return provisioner.Demand{}, nil
		case <-ctx.Done():
			return provisioner.Demand{}, ctx.Err()
		}
	}
}

func (p *Plane) promise(ad provisioner.Advertisement) provisioner.Demand {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, g := range p.granted { // a promise that came to nothing
		if time.Since(g.at) >= grantLife {
			delete(p.granted, id)
			p.waiting = append(p.waiting, g.job)
		}
	}
	for i, job := range p.waiting {
		if ad.MaxReservations == 0 || !fits(ad, job) {
			continue
		}
		p.waiting = append(p.waiting[:i:i], p.waiting[i+1:]...)
		id := uuid.NewString()
		p.granted[id] = grant{job, time.Now()}
		return provisioner.Demand{Grants: []provisioner.Grant{{Reservation: id, Labels: job.Labels, Count: 1, Lifetime: grantLife}}}
	}
	return provisioner.Demand{}
}

func fits(ad provisioner.Advertisement, job Job) bool {
	for _, slots := range ad.Templates {
		if slots.Free > 0 && template.Covers(slots.Labels, job.Labels) {
			return true
		}
	}
	return false
}

// Mint turns a promise into a runner's command. There is nothing warm here.
func (p *Plane) Mint(_ context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var made []provisioner.Registration
	for _, r := range requests {
		if r.Reservation == "" {
			return nil, fmt.Errorf("mint warm runner: %w", errors.ErrUnsupported)
		}
		g, ok := p.granted[r.Reservation]
		if !ok || time.Since(g.at) >= grantLife {
			continue // its job is promised anew, or was never there
		}
		delete(p.granted, r.Reservation)
		p.minted[r.Runner] = g.job
		made = append(made, provisioner.Registration{Runner: r.Runner, Command: g.job.Command})
	}
	return made, nil
}

// Report tells what became of the jobs of runners that ended.
func (p *Plane) Report(ctx context.Context, events []provisioner.Event) error {
	for _, e := range events {
		p.mu.Lock()
		job, ok := p.minted[e.Runner]
		p.mu.Unlock()
		if !ok || !e.State.Terminal() {
			continue
		}
		select {
		case p.results <- fmt.Sprintf("%s: %s", strings.Join(job.Command, " "), e.State):
		case <-ctx.Done():
			return ctx.Err() // it is reported again
		}
		p.mu.Lock()
		delete(p.minted, e.Runner)
		p.mu.Unlock()
	}
	return nil
}
