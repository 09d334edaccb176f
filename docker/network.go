package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// networkTimeout bounds the making of the owner's network.
const networkTimeout = 30 * time.Second

// networkName is the owner's network.
func (b *Backend) networkName() string { return b.config.NamePrefix + "net-" + b.hash }

// bridgeName is its device on the host. The engine does not keep two networks
// from having one name, but it keeps two from having one device: of two
// processes that create it at once one gets an error.
func (b *Backend) bridgeName() string { return "slw" + b.hash }

// ensureNetwork creates the owner's network unless it is known to be there.
func (b *Backend) ensureNetwork(ctx context.Context) error {
	if b.networkUp.Load() {
		return nil
	}
	_, err := b.makeNetwork(ctx)
	return err
}

// remakeNetwork creates the owner's network though it was known to be there.
func (b *Backend) remakeNetwork(ctx context.Context) error {
	b.networkUp.Store(false)
	return b.ensureNetwork(ctx)
}

// makeNetwork returns the owner's network, which it creates when needed; once at
// a time, for however many ask. A caller's ctx ends its own wait alone.
func (b *Backend) makeNetwork(ctx context.Context) (network.Inspect, error) {
	results := b.networks.DoChan("", func() (any, error) {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), networkTimeout)
		defer cancel()
		found, err := b.findOrCreateNetwork(own)
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", b.networkName(), err)
		}
		b.networkUp.Store(true)
		return found, nil
	})
	select {
	case result := <-results:
		if result.Err != nil {
			return network.Inspect{}, result.Err
		}
		return result.Val.(network.Inspect), nil
	case <-ctx.Done():
		return network.Inspect{}, ctx.Err()
	}
}

// findOrCreateNetwork goes on until the network is there. An engine at which
// another process of our owner creates it says for a moment both that it is there
// already, and that it is not.
func (b *Backend) findOrCreateNetwork(ctx context.Context) (network.Inspect, error) {
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for {
		if found, ok, err := b.findNetwork(ctx); ok || err != nil {
			return found, err
		}
		_, err := b.client.NetworkCreate(ctx, b.networkName(), b.networkOptions())
		switch {
		case err == nil:
			continue // to read it back
		case !mentions(err, "already exists") && !mentions(err, "networks have same bridge name"):
			return network.Inspect{}, fault.Of(ctx, err)
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return network.Inspect{}, fault.Of(ctx, err)
		}
	}
}

func (b *Backend) networkOptions() network.CreateOptions {
	return network.CreateOptions{
		Driver: network.NetworkBridge,
		Labels: map[string]string{b.config.Schema.Owner: b.config.Owner},
		Options: map[string]string{
			"com.docker.network.bridge.enable_icc": "false",
			"com.docker.network.bridge.name":       b.bridgeName(),
		},
	}
}

// findNetwork looks for the owner's network. One of that name which is not the
// owner's is ErrRefused.
func (b *Backend) findNetwork(ctx context.Context) (network.Inspect, bool, error) {
	list, err := b.client.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", b.networkName()))})
	if err != nil {
		return network.Inspect{}, false, fault.Of(ctx, err)
	}
	for _, n := range list {
		if n.Name != b.networkName() {
			continue // the filter takes any part of a name
		}
		if n.Labels[b.config.Schema.Owner] != b.config.Owner {
			return n, false, fault.Refused("it is there and not labelled as ours")
		}
		return n, true, nil
	}
	return network.Inspect{}, false, nil
}

// Gateway tells the host's address on the network of runners whose spec names
// none: what the host listens on there, such a runner can reach. The owner's
// network is created when it is not there yet.
func (b *Backend) Gateway(ctx context.Context) (netip.Addr, error) {
	n, err := b.runnersNetwork(ctx)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("gateway: %w", err)
	}
	for _, c := range n.IPAM.Config {
		if addr, err := netip.ParseAddr(c.Gateway); err == nil {
			return addr, nil
		}
		// Engines do not always tell that of their first network. A bridge takes
		// the first address of its subnet.
		if subnet, err := netip.ParsePrefix(c.Subnet); err == nil && n.Driver == network.NetworkBridge {
			return subnet.Masked().Addr().Next(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("gateway: network %s has none", n.Name)
}

func (b *Backend) runnersNetwork(ctx context.Context) (network.Inspect, error) {
	if b.config.Network == "" {
		return b.makeNetwork(ctx)
	}
	n, err := b.client.NetworkInspect(ctx, b.config.Network, network.InspectOptions{})
	if err != nil {
		return n, fmt.Errorf("network %s: %w", b.config.Network, fault.Of(ctx, err))
	}
	return n, nil
}

// purgeNetwork removes the owner's network.
func (b *Backend) purgeNetwork(ctx context.Context) error {
	n, ok, err := b.findNetwork(ctx)
	switch {
	case errors.Is(err, backend.ErrRefused):
		return nil // somebody else's
	case err != nil || !ok:
		return err
	}
	b.networkUp.Store(false)
	if err := b.removeNetwork(ctx, n.ID); err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	return nil
}

// releaseTries and releasePause are how long the engine gets to notice that the
// last container of a network is gone.
const (
	releaseTries = 10
	releasePause = 200 * time.Millisecond
)

func (b *Backend) removeNetwork(ctx context.Context, id string) error {
	pause := time.NewTicker(releasePause)
	defer pause.Stop()
	for try := 1; ; try++ {
		err := b.client.NetworkRemove(ctx, id)
		switch {
		case err == nil, cerrdefs.IsNotFound(err):
			return nil
		case !mentions(err, "active endpoints"):
			return fault.Of(ctx, err)
		case try == releaseTries:
			return b.held(ctx, id, err)
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// held tells an engine that has miscounted from a network that is in use.
func (b *Backend) held(ctx context.Context, id string, err error) error {
	n, inspectErr := b.client.NetworkInspect(ctx, id, network.InspectOptions{})
	if inspectErr == nil && len(n.Containers) == 0 {
		return fmt.Errorf("%w: %w", ErrNetworkHeld, err)
	}
	return err
}
