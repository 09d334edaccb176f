package docker

import (
	"context"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// Request is all that a launch asks of the engine, as it is sent and after all
// defaults, for Config.Review. Its parts are those of the launch itself: they
// must not be changed, and its environment holds secrets.
type Request struct {
	// Name is the container's: NamePrefix and the runner's id.
	Name string
	// Image is Config.Image: the image in canonical form, domain and tag or digest
	// included (docker.io/library/alpine:3.22), or an image's own id (sha256:…).
	Image string
	// Digest is the one that Image names; empty where it names a tag.
	Digest string
	// Config, Host, Networking and Platform make up the create request.
	// Networking and Platform may be nil.
	Config     *container.Config
	Host       *container.HostConfig
	Networking *network.NetworkingConfig
	Platform   *ocispec.Platform
	// InjectRunner says that the runner program is copied into the container.
	InjectRunner bool
	// Network is the owner's network, where the runner is to be in it: it is
	// created by this request when it is missing. Else nil.
	Network *network.CreateRequest
	// DefaultNetwork is the network of runners whose spec names none.
	DefaultNetwork string
	// VolumePrefix begins the names of the owner's cache volumes. One that is
	// missing is created along with the container, as Host.Mounts says.
	VolumePrefix string
	// Volumes are those of the named volumes of Host.Mounts that exist already,
	// as the engine tells them.
	Volumes []volume.Volume
}

// review asks Config.Review about j, before anything is pulled or created for
// it. Its refusal is ErrRefused.
func (b *Backend) review(ctx context.Context, j *job) error {
	if b.config.Review == nil {
		return nil
	}
	r := Request{
		Name: b.name(j.spec.ID), Image: j.config.Image, Config: j.config, Host: j.host, Platform: j.platform,
		InjectRunner: j.program != nil, DefaultNetwork: b.config.Network, VolumePrefix: b.volumeName(""),
	}
	if r.DefaultNetwork == "" {
		r.DefaultNetwork = b.networkName()
	}
	if j.ownNetwork {
		r.Network = &network.CreateRequest{Name: b.networkName(), CreateOptions: b.networkOptions()}
	}
	if named, err := reference.ParseAnyReference(j.config.Image); err == nil {
		if d, ok := named.(reference.Digested); ok {
			r.Digest = d.Digest().String()
		}
	}
	var err error
	if r.Volumes, err = b.volumesThere(ctx, j.host.Mounts); err != nil {
		return err
	}
	if err := b.config.Review(r); err != nil {
		return fault.As(backend.ErrRefused, err)
	}
	return nil
}

// volumesThere tells the named volumes that exist.
func (b *Backend) volumesThere(ctx context.Context, mounts []mount.Mount) ([]volume.Volume, error) {
	var out []volume.Volume
	for _, m := range mounts {
		if m.Type != mount.TypeVolume || m.Source == "" {
			continue
		}
		v, err := b.client.VolumeInspect(ctx, m.Source)
		switch {
		case cerrdefs.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("volume %s: %w", m.Source, fault.Of(ctx, err))
		default:
			out = append(out, v)
		}
	}
	return out, nil
}
