package docker

import (
	"path/filepath"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/versions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
	"github.com/slipway-ci/slipway/docker/internal/request"
)

// job is one launch, ready to be sent.
type job struct {
	spec       backend.Spec
	config     *container.Config
	host       *container.HostConfig
	platform   *ocispec.Platform
	ownNetwork bool     // the network is the owner's, which we create
	program    *program // nil: nothing is injected
	remade     bool     // what was half made is away, once
}

// job makes the engine's words of spec. Errors are ErrInvalid or ErrRefused.
func (b *Backend) job(spec backend.Spec) (*job, error) {
	if !canonical(spec.ID) {
		return nil, fault.Invalid("id %q is no canonical UUID", spec.ID)
	}
	labels, err := b.config.Schema.encode(b.config.Owner, spec.ID, spec.Labels)
	if err != nil {
		return nil, fault.As(backend.ErrInvalid, err)
	}
	if _, err := b.images.Rule(spec); err != nil {
		return nil, err
	}
	made, err := request.Make(spec, labels, b.settings)
	if err != nil {
		return nil, err
	}
	spec.Image = made.Config.Image
	j := &job{spec: spec, config: made.Config, host: made.Host, platform: made.Platform, ownNetwork: made.OwnNetwork}
	if spec.InjectRunner {
		j.program = &program{}
	}
	return j, nil
}

// requestSettings are what the configuration says of every request.
func (b *Backend) requestSettings() request.Settings {
	c := b.config
	s := request.Settings{
		OwnNetwork: b.networkName(), Network: c.Network, ExtraHosts: c.ExtraHosts, LogDriver: c.LogDriver, LogOptions: c.LogOptions,
		PidsLimit: c.PidsLimit, AllowedBinds: c.AllowedBinds, CanonicalImage: c.Review != nil,
		Volume: b.volumeName, VolumeLabels: map[string]string{c.Schema.Owner: c.Owner},
	}
	if b.address.local() {
		s.Resolve = filepath.EvalSymlinks
	}
	if c.Runner != nil {
		s.Runner = &request.Runner{Path: c.RunnerPath, Args: c.RunnerArgs}
		if len(c.CARoots) > 0 {
			s.Runner.Env, s.Runner.File = CAFileEnv, caName
		}
	}
	return s
}

// volumeName keeps the caches of two owners apart.
func (b *Backend) volumeName(name string) string {
	return b.config.NamePrefix + "cache-" + b.hash + "-" + name
}

// extraHosts adds the name by which a runner finds its host, once the engine's
// version is known. A network namespace that is another's has its own hosts.
func (b *Backend) extraHosts(h *container.HostConfig) {
	shared := h.NetworkMode.IsContainer() || h.NetworkMode.IsNone()
	if b.config.ExtraHosts != nil || shared || versions.LessThan(b.client.ClientVersion(), "1.41") {
		return
	}
	h.ExtraHosts = []string{"host.docker.internal:host-gateway"}
}
