package request

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"strings"

	"github.com/docker/docker/api/types/mount"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// volumeForm leaves room for the prefix within the engine's limit of names.
var volumeForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

func (s Settings) mounts(specs []backend.Mount) ([]mount.Mount, error) {
	var out []mount.Mount
	for _, m := range specs {
		if !cleanPath(m.Target) || m.Target == "/" {
			return nil, fault.Invalid("mount: target %q is no clean absolute path below /", m.Target)
		}
		one := mount.Mount{Target: m.Target, ReadOnly: m.ReadOnly}
		switch {
		case m.Volume != "" && m.Bind != "":
			return nil, fault.Invalid("mount %s: both a volume and a bind", m.Target)
		case m.Volume != "":
			if !volumeForm.MatchString(m.Volume) {
				return nil, fault.Invalid("mount %s: %q is no name for a volume", m.Target, m.Volume)
			}
			one.Type, one.Source = mount.TypeVolume, s.Volume(m.Volume)
			one.VolumeOptions = &mount.VolumeOptions{Labels: maps.Clone(s.VolumeLabels)}
		case m.Bind != "":
			source, err := s.bind(m.Bind)
			if err != nil {
				return nil, err
			}
			one.Type, one.Source = mount.TypeBind, source
		default:
			return nil, fault.Invalid("mount %s: neither a volume nor a bind", m.Target)
		}
		out = append(out, one)
	}
	return out, nil
}

// bind checks a path of the host against AllowedBinds, and returns what is to be
// mounted. Where links can be resolved the result is checked and mounted; elsewhere
// only the text can be checked.
func (s Settings) bind(p string) (string, error) {
	if !path.IsAbs(p) {
		return "", fault.Invalid("bind %q is no absolute path", p)
	}
	p = path.Clean(p)
	if !within(p, s.AllowedBinds) {
		return "", fault.Refused("bind %s is below none of the allowed folders", p)
	}
	if s.Resolve == nil {
		return p, nil
	}
	real, err := s.Resolve(p)
	if errors.Is(err, fs.ErrNotExist) {
		// Not to be seen from here, as in a container that was given the
		// engine's socket. What does not exist the engine refuses.
		return p, nil
	}
	if err != nil {
		return "", fault.Refused("bind %s: where it leads can't be told: %w", p, err)
	}
	var folders []string
	for _, folder := range s.AllowedBinds {
		if resolved, err := s.Resolve(folder); err == nil {
			folders = append(folders, resolved)
		}
	}
	if !within(real, folders) {
		return "", fault.Refused("bind %s leads to %s, which is below none of the allowed folders", p, real)
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

func cleanPath(p string) bool { return path.IsAbs(p) && path.Clean(p) == p }
