// Package request makes of a spec what an engine is asked to create. It asks nobody: a
// request is a function of the spec and the settings.
package request

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// Settings are what holds for all specs.
type Settings struct {
	// Network is for specs without one; empty: OwnNetwork, which is the owner's.
	Network, OwnNetwork string
	// ExtraHosts, LogDriver and LogOptions are the engine's.
	ExtraHosts []string
	LogDriver  string
	LogOptions map[string]string
	// PidsLimit is for specs without one.
	PidsLimit int64
	// CanonicalImage writes images' names out.
	CanonicalImage bool
	// AllowedBinds are the folders below which binds may lie.
	AllowedBinds []string
	// Resolve follows symbolic links; nil: the engine's files can't be seen from here.
	Resolve func(path string) (string, error)
	// Volume is the engine's name of a volume, and VolumeLabels are for new ones.
	Volume       func(name string) string
	VolumeLabels map[string]string
	// Runner is what InjectRunner starts; nil: there is none.
	Runner *Runner
}

// Runner is the program that is put into a container.
type Runner struct {
	// Path is where it lies, in a volume of its own, and Args are its arguments.
	Path string
	Args []string
	// Env is a variable that names a file beside it; both are empty: there is none.
	Env, File string
}

// Request is the create request.
type Request struct {
	Config   *container.Config
	Host     *container.HostConfig
	Platform *ocispec.Platform // nil: the engine's own
	// OwnNetwork says that the network is the owner's.
	OwnNetwork bool
}

// Make makes it. Errors are ErrInvalid or ErrRefused.
func Make(spec backend.Spec, labels map[string]string, s Settings) (*Request, error) {
	if spec.Image == "" {
		return nil, fault.Invalid("no image")
	}
	env, err := environment(spec.Env)
	if err != nil {
		return nil, fault.As(backend.ErrInvalid, err)
	}
	if s.CanonicalImage {
		if spec.Image, err = Canonical(spec.Image); err != nil {
			return nil, err
		}
	}
	r := &Request{Config: &container.Config{
		Image: spec.Image, Entrypoint: slices.Clone(spec.Entrypoint), Cmd: slices.Clone(spec.Command),
		User: spec.User, Env: env, Labels: labels,
	}}
	if r.Host, err = s.host(spec); err != nil {
		return nil, err
	}
	if spec.OS != "" || spec.Arch != "" {
		r.Platform = &ocispec.Platform{OS: spec.OS, Architecture: spec.Arch}
	}
	if spec.Network == "" && s.Network == "" {
		r.OwnNetwork = true
		r.Host.NetworkMode = container.NetworkMode(s.OwnNetwork)
	}
	if spec.InjectRunner {
		err = r.inject(spec, s.Runner)
	}
	return r, err
}

// inject makes the container one that starts the program. It lies in a volume of
// the container's own: nothing can be copied into a read-only root file system.
func (r *Request) inject(spec backend.Spec, runner *Runner) error {
	switch {
	case runner == nil:
		return fault.Invalid("inject runner: this backend has no runner program")
	case len(spec.Entrypoint)+len(spec.Command) > 0:
		return fault.Invalid("inject runner: entrypoint and command must be empty")
	}
	folder := path.Dir(runner.Path)
	for _, m := range r.Host.Mounts {
		if m.Target == folder || strings.HasPrefix(m.Target, folder+"/") {
			return fault.Invalid("mount %s: the runner program lies there", m.Target)
		}
	}
	r.Config.Entrypoint = []string{runner.Path}
	r.Config.Cmd = slices.Clone(runner.Args)
	// The image may name another signal, which its own program would have known.
	r.Config.StopSignal = "SIGTERM"
	r.Host.Mounts = append(r.Host.Mounts, mount.Mount{
		Type: mount.TypeVolume, Target: folder, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
	})
	if _, own := spec.Env[runner.Env]; !own && runner.Env != "" {
		r.Config.Env = append(r.Config.Env, runner.Env+"="+path.Join(folder, runner.File))
	}
	return nil
}

// environment is sorted, so that two launches of one spec are equal. Errors tell
// names at most: values are secret.
func environment(env map[string]string) ([]string, error) {
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, fmt.Errorf("environment: %q is no name", name)
		}
		if strings.Contains(env[name], "\x00") {
			return nil, fmt.Errorf("environment: the value of %s has a NUL in it", name)
		}
		out = append(out, name+"="+env[name])
	}
	return out, nil
}

// Canonical writes an image's name out. What the engine takes for a name or
// for the beginning of an image's id, as it pleases, is then a name and nothing else.
func Canonical(image string) (string, error) {
	ref, err := reference.ParseAnyReference(image)
	if err != nil {
		return "", fault.As(backend.ErrInvalid, fmt.Errorf("image %q: %w", image, err))
	}
	if named, ok := ref.(reference.Named); ok {
		return reference.TagNameOnly(named).String(), nil
	}
	return ref.String(), nil
}
