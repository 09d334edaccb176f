package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
	"github.com/slipway-ci/slipway/tokens"
)

// Hub is an open hub.
type Hub struct {
	cfg     Config
	log     hclog.Logger
	store   *store.Store
	vault   *vault.Vault
	queue   *queue.Queue
	events  *events.Log
	compute *compute
	metrics *metrics
	logs    *logs.Store
	guard   *storage.Guard
	keeper  *storage.Keeper

	main        *listener
	certificate *certificate // nil: plain HTTP
	runners     []*listener  // on named addresses
	bridges     bridges

	admin tokens.Token

	close    sync.Once
	closeErr error
}

// Open opens the data folder and binds the listeners; what connects waits until
// Run serves it. The caller runs the hub with Run, which closes it, or closes it
// with Close. Errors: ErrConfig, ErrListen, store.ErrLocked.
func Open(ctx context.Context, cfg Config) (_ *Hub, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("%w: DataDir: %w", ErrConfig, err)
	}
	h := &Hub{cfg: cfg, log: cfg.Logger, metrics: newMetrics()}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	for _, open := range []func(context.Context) error{h.openCertificate, h.openData, h.openCompute, h.listen, h.openLoops} {
		if err := open(ctx); err != nil {
			return nil, err
		}
	}
	if h.admin, _, err = api.FirstAdmin(ctx, h.queue); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *Hub) openData(ctx context.Context) (err error) {
	c := h.cfg
	if h.store, err = store.Open(ctx, store.Config{Dir: c.DataDir, Logger: h.log.Named("store")}); err != nil {
		return err
	}
	h.guard, err = storage.NewGuard(storage.GuardConfig{
		Dir: c.DataDir, Reserve: c.Reserve, MinFree: c.MinFree, MinFreePercent: c.MinFreePercent, Logger: h.log.Named("storage"),
		OnRoom: func(ctx context.Context) error { return h.queue.Resume(ctx) },
	})
	if err != nil {
		return err
	}
	h.vault, err = vault.Open(ctx, vault.Config{
		Store: h.store, Key: c.MasterKey, File: c.MasterKeyFile, Previous: c.PreviousKeys, Logger: h.log.Named("vault"),
	})
	if err != nil {
		return err
	}
	h.queue, err = queue.New(ctx, queue.Config{
		Store: h.store, Vault: h.vault, LeaseTTL: c.LeaseTTL, ReservationTTL: c.ReservationTTL, JobTimeout: c.JobTimeout, LogLimit: c.LogLimit, StorageFull: h.guard.Full, Logger: h.log.Named("queue"),
	})
	if err != nil {
		return err
	}
	if h.events, err = events.New(events.Config{Queue: h.queue, Guard: h.guard.Do, Keep: c.KeepEvents, Logger: h.log.Named("events")}); err != nil {
		return err
	}
	if h.logs, err = logs.New(logs.Config{Dir: filepath.Join(c.DataDir, "logs"), Limit: c.LogLimit}); err != nil {
		return err
	}
	h.keeper, err = storage.NewKeeper(ctx, storage.KeeperConfig{
		Queue: h.queue, Logs: h.logs, Jobs: c.KeepJobs, Bytes: c.KeepBytes, Events: c.KeepEvents, Logger: h.log.Named("retention"),
	})
	return err
}

// NewAdminToken makes one more admin token.
func (h *Hub) NewAdminToken(ctx context.Context, name string) (tokens.Token, error) {
	_, secret, err := h.queue.CreateToken(ctx, queue.TokenSpec{Kind: tokens.Admin, Name: name})
	return secret, err
}

// AdminToken is the one that Open made, since there was none: on the first start.
// Else it is the zero Token. It is stored nowhere: the caller shows it to the
// operator, once.
func (h *Hub) AdminToken() tokens.Token { return h.admin }

// Queue is the hub's queue, for programs that hold a hub in themselves.
func (h *Hub) Queue() *queue.Queue { return h.queue }

// Logs are the logs of the jobs, likewise.
func (h *Hub) Logs() *logs.Store { return h.logs }

// URL is the base URL of the main listener, for clients on this machine.
func (h *Hub) URL() string {
	if h.certificate != nil {
		return "https://" + dialable(h.main.addr())
	}
	return urlOf(h.main.addr())
}

// RunnerAddrs are the addresses that serve the routes of runners alone now.
func (h *Hub) RunnerAddrs() []net.Addr {
	var out []net.Addr
	for _, l := range slices.Concat(h.runners, h.bridges.list()) {
		out = append(out, l.addr())
	}
	return out
}

// RunnerURL is where runners reach the hub: the configured URL, else that of the
// first of RunnerAddrs, else the main listener's.
func (h *Hub) RunnerURL() string {
	if h.cfg.RunnerURL != "" {
		return h.cfg.RunnerURL
	}
	if addrs := h.RunnerAddrs(); len(addrs) > 0 {
		return urlOf(addrs[0])
	}
	return h.URL()
}

func urlOf(addr net.Addr) string { return "http://" + dialable(addr) }

// dialable turns an unspecified address into one that can be dialed here.
func dialable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

// Run serves until ctx ends. Then it finishes the launches under way, for at most
// Config.DrainTimeout, while agents and runners are still served; then the requests
// under way, for at most Config.ShutdownTimeout; closes the hub and returns nil.
// An error means that a part of the hub can't go on. It is called once.
func (h *Hub) Run(ctx context.Context) error {
	servers, err := h.servers()
	if err != nil {
		return errors.Join(err, h.Close())
	}
	ctx, fail := context.WithCancel(ctx)
	defer fail()
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	defer endServing()
	// What the requests need goes on until the last of them was answered.
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var background, front sync.WaitGroup
	for _, part := range []func(context.Context) error{h.queue.Run, h.guard.Run, h.keeper.Run, h.events.Run} {
		background.Go(func() { _ = part(inner) }) // they return nil, and when inner ends
	}
	background.Go(func() { h.reseal(inner) })
	var served error
	front.Go(func() {
		select { // an agent that is answered before that stays away for a while
		case <-h.compute.fleet.Opened():
		case <-serving.Done():
		}
		served = servers.run(serving)
		fail()
	})
	err = h.compute.run(ctx, fail)
	endServing()
	front.Wait()
	stop()
	background.Wait()
	return errors.Join(err, served, h.Close())
}

// reseal encrypts with the newest master key what older ones sealed: after a
// rotation the old keys are soon of no more use.
func (h *Hub) reseal(ctx context.Context) {
	done, err := h.vault.Reseal(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		h.log.Error("seal secrets with the newest master key", "err", err)
	case done.Values > 0 || done.Failed > 0:
		h.log.Info("secrets sealed with the newest master key", "values", done.Values, "failed", done.Failed, "retired", done.Retired)
	}
}

// Close gives up the listeners and closes the data folder. Run does it by itself.
func (h *Hub) Close() error {
	h.close.Do(func() {
		var errs []error
		for _, l := range append([]*listener{h.main}, h.runners...) {
			if l != nil {
				errs = append(errs, l.Close())
			}
		}
		h.bridges.closeAll()
		if h.store != nil {
			errs = append(errs, h.store.Close())
		}
		h.closeErr = errors.Join(errs...)
	})
	return h.closeErr
}
