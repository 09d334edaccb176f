package docker

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/docker/docker/api/types/mount"

	"github.com/slipway-ci/slipway/backend"
)

// volumeForm leaves room for the prefix within the engine's limit of names.
var volumeForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

func (b *Backend) mounts(specs []backend.Mount) ([]mount.Mount, error) {
	var out []mount.Mount
	for _, m := range specs {
		if !cleanPath(m.Target) || m.Target == "/" {
			return nil, invalid("mount: target %q is no clean absolute path below /", m.Target)
		}
		one := mount.Mount{Target: m.Target, ReadOnly: m.ReadOnly}
		switch {
		case m.Volume != "" && m.Bind != "":
			return nil, invalid("mount %s: both a volume and a bind", m.Target)
		case m.Volume != "":
			if !volumeForm.MatchString(m.Volume) {
				return nil, invalid("mount %s: %q is no name for a volume", m.Target, m.Volume)
			}
			one.Type, one.Source = mount.TypeVolume, b.volumeName(m.Volume)
			one.VolumeOptions = &mount.VolumeOptions{Labels: map[string]string{b.config.Schema.Owner: b.config.Owner}}
		case m.Bind != "":
			source, err := b.bind(m.Bind)
			if err != nil {
				return nil, err
			}
			one.Type, one.Source = mount.TypeBind, source
		default:
			return nil, invalid("mount %s: neither a volume nor a bind", m.Target)
		}
		out = append(out, one)
	}
	return out, nil
}

// volumeName keeps the caches of two owners apart.
func (b *Backend) volumeName(name string) string {
	return b.config.NamePrefix + "cache-" + b.hash + "-" + name
}

// bind checks a path of the host against AllowedBinds, and returns what is to be
// mounted. Where the engine is on this machine symbolic links are resolved, and
// the result is checked and mounted; elsewhere only the text can be checked.
func (b *Backend) bind(p string) (string, error) {
	if !path.IsAbs(p) {
		return "", invalid("bind %q is no absolute path", p)
	}
	p = path.Clean(p)
	if !within(p, b.config.AllowedBinds) {
		return "", refused("bind %s is below none of the allowed folders", p)
	}
	if !b.address.local() {
		return p, nil
	}
	real, err := filepath.EvalSymlinks(p)
	if errors.Is(err, fs.ErrNotExist) {
		// Not to be seen from here, as in a container that was given the
		// engine's socket. What does not exist the engine refuses.
		return p, nil
	}
	if err != nil {
		return "", refused("bind %s: where it leads can't be told: %w", p, err)
	}
	var folders []string
	for _, folder := range b.config.AllowedBinds {
		if resolved, err := filepath.EvalSymlinks(folder); err == nil {
			folders = append(folders, resolved)
		}
	}
	if !within(real, folders) {
		return "", refused("bind %s leads to %s, which is below none of the allowed folders", p, real)
	}
	return real, nil
}

// within says whether p is one of the folders or below one.
func within(p string, folders []string) bool {
	for _, folder := range folders {
		if p == folder || folder == "/" || strings.HasPrefix(p, folder+"/") {
			return true
		}
	}
	return false
}
