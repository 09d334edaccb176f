package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// hubLaunchFigure times launches through the fleet, its durable records, a WebSocket
// on loopback and an agent, against the same calls straight at the agent's backend,
// which takes no time. There is an fsync of the same disk between any two; a launch
// waits for one. What is left without it is told too.
func hubLaunchFigure(ctx context.Context) (line string, err error) {
	dir, err := os.MkdirTemp(".", ".bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	var durable, forgetful []launchTimes
	for i := range launchRounds {
		one, err := launchesThrough(ctx, filepath.Join(dir, fmt.Sprint("hub-", i)), true, file)
		if err != nil {
			return "", err
		}
		other, err := launchesThrough(ctx, filepath.Join(dir, fmt.Sprint("forgetful-", i)), false, file)
		if err != nil {
			return "", err
		}
		durable, forgetful = append(durable, one), append(forgetful, other)
	}
	const bar = 5 * time.Millisecond
	p99, without := usual(durable, launchTimes.adds, 0.99), usual(forgetful, launchTimes.adds, 0.99)
	return fmt.Sprintf("a launch through hub and agent adds p50 %s, p99 %s, medians of %d; its record's fsync p50 %s, p99 %s; bar %s: %s; with records in memory p50 %s, p99 %s: %s",
		milliseconds(usual(durable, launchTimes.adds, 0.5)), milliseconds(p99), launchRounds,
		milliseconds(usual(durable, launchTimes.sync, 0.5)), milliseconds(usual(durable, launchTimes.sync, 0.99)),
		milliseconds(bar), verdict(p99 < bar), milliseconds(usual(forgetful, launchTimes.adds, 0.5)), milliseconds(without), verdict(without < bar)), nil
}

// launchRounds is how often as many launches are timed as grantSamples.
const launchRounds = 5

// launchTimes are those of launches through a hub, straight ones, and fsyncs.
type launchTimes struct{ through, straight, syncs []time.Duration }

// adds is what the hub adds to a quantile, sync that of an fsync.
func (l launchTimes) adds(q float64) time.Duration {
	return quantile(l.through, q) - quantile(l.straight, q)
}

func (l launchTimes) sync(q float64) time.Duration { return quantile(l.syncs, q) }

// usual is the median of a quantile over the rounds: what else the machine does
// comes in bursts.
func usual(rounds []launchTimes, of func(launchTimes, float64) time.Duration, q float64) time.Duration {
	var each []time.Duration
	for _, round := range rounds {
		each = append(each, of(round, q))
	}
	return quantile(each, 0.5)
}

// launchesThrough times launches through a fleet of its own, whose records are in
// the hub's database, or in memory.
func launchesThrough(ctx context.Context, dir string, durable bool, file *os.File) (times launchTimes, err error) {
	s, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		return times, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	site, err := openSite(ctx, s, durable)
	if err != nil {
		return times, err
	}
	defer func() { err = errors.Join(err, site.close()) }()
	straight := engine().Backend("straight")
	for i := range grantWarmup + grantSamples {
		a, err := launchOnce(ctx, site.fleet)
		if err == nil {
			err = site.records.settle(ctx) // the next launch is not to wait for this one's end
		}
		if err != nil {
			return times, err
		}
		b, err := launchOnce(ctx, straight)
		if err != nil {
			return times, err
		}
		c, err := fsync(file)
		if err != nil {
			return times, err
		}
		if i >= grantWarmup {
			times.through, times.straight, times.syncs = append(times.through, a), append(times.straight, b), append(times.syncs, c)
		}
	}
	return times, nil
}

// launchOnce times one launch; what it made is removed, which is not timed.
func launchOnce(ctx context.Context, b backend.Backend) (took time.Duration, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	spec := backend.Spec{
		ID: id.String(), Image: "ghcr.io/example/runner:1", CPU: 2, Memory: 4 << 30,
		Labels: map[string]string{"template": "bench", "labels": "linux,x64", "max-lifetime": "1h0m0s", "registration-deadline": "5m0s"},
		Env:    map[string]string{"SHIPFOX_API_URL": "https://hub.example.com", "SHIPFOX_RUNNER_BOOTSTRAP_TOKEN": "none"},
	}
	began := time.Now()
	err = b.Launch(ctx, spec)
	took = time.Since(began)
	if err == nil {
		err = b.Remove(ctx, spec.ID)
	}
	return took, err
}

// site is a fleet with one host, an agent in this process.
type site struct {
	fleet   *fleet.Fleet
	records *records
	server  *http.Server
	stop    context.CancelFunc
	run     sync.WaitGroup
}

// records tell when one was deleted.
type records struct {
	fleet.Store
	gone chan struct{}
}

func newRecords(store fleet.Store) *records { return &records{store, make(chan struct{}, 1)} }

// Save is fleet.Store's.
func (r *records) Save(ctx context.Context, put []fleet.Record, gone []string) error {
	err := r.Store.Save(ctx, put, gone)
	if err == nil && len(gone) > 0 {
		r.gone <- struct{}{}
	}
	return err
}

// settle waits until the record of a removed runner is deleted.
func (r *records) settle(ctx context.Context) error {
	select {
	case <-r.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func openSite(ctx context.Context, s *store.Store, durable bool) (_ *site, err error) {
	registry, err := hosts.New(ctx, hosts.Config{Store: s})
	if err != nil {
		return nil, err
	}
	kept := newRecords(fleet.NewMemoryStore())
	if durable {
		kept = newRecords(registry.Records())
	}
	f, err := fleet.New(fleet.Config{Authenticate: registry.Authenticate, Store: kept})
	if err != nil {
		return nil, err
	}
	token := tokens.New(tokens.Agent)
	if _, err := registry.LocalAgent(ctx, token, hosts.LocalName); err != nil {
		return nil, err
	}
	if err := registry.Bind(ctx, f); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a, err := agent.New(agent.Config{
		Hub: "http://" + l.Addr().String(), Token: func() tokens.Token { return token }, ID: uuid.NewString(), RetryMin: 10 * time.Millisecond,
		Backend: memory.New(memory.Config{}).Backend("bench"), Facts: agent.Facts{CPUs: 64, Memory: 256 << 30},
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	made := &site{fleet: f, records: kept, server: &http.Server{Handler: f.Handler(), ReadHeaderTimeout: 10 * time.Second}, stop: stop}
	made.run.Go(func() { _ = f.Run(inner) })
	made.run.Go(func() { _ = a.Run(inner) })
	made.run.Go(func() { _ = made.server.Serve(l) })
	for !made.ready() {
		if err := rest(ctx, 10*time.Millisecond); err != nil {
			return nil, errors.Join(err, made.close())
		}
	}
	return made, nil
}

func (s *site) ready() bool {
	all := s.fleet.Hosts()
	return len(all) == 1 && all[0].Ready
}

func (s *site) close() error {
	s.stop()
	err := s.server.Close()
	s.run.Wait()
	return err
}
