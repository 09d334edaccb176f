package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"github.com/slipway-ci/slipway/docker"
)

// alwaysProtected are never mounted, nor what is below them, nor a folder that
// they are in: who has one of them has the host.
var alwaysProtected = []string{
	"/var/run/docker.sock", "/run/docker.sock", "/var/run/containerd", "/run/containerd", "/run/podman", "/run/crio",
	"/var/lib/docker", "/var/lib/containerd", "/var/lib/slipway-agent", "/etc/slipway-agent", "/etc/slipway",
}

// volumeForm is the owner's part of a cache volume's name.
var volumeForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

func (p *Policy) judgeMounts(r *docker.Request) *Refusal {
	for _, m := range r.Host.Mounts {
		if !inside(m.Target) {
			return never("request", "the mount's target %s is no clean absolute path below /", short(m.Target))
		}
		var refusal *Refusal
		switch m.Type {
		case mount.TypeVolume:
			refusal = p.judgeVolume(r, m)
		case mount.TypeBind:
			refusal = p.judgeBind(m)
		default:
			refusal = never("request", "a mount of type %s", short(string(m.Type)))
		}
		if refusal != nil {
			return refusal
		}
	}
	for _, v := range r.Volumes {
		if refusal := judgeThere(v); refusal != nil {
			return refusal
		}
	}
	return nil
}

// judgeVolume allows volumes without a name, which go with the runner, and the
// owner's cache volumes.
func (p *Policy) judgeVolume(r *docker.Request, m mount.Mount) *Refusal {
	if m.Source == "" {
		return nil
	}
	if p.rules.ForbidVolumes {
		return unless("volumes", "volumes: true", "the volume %s is to be mounted", short(m.Source))
	}
	name, ours := strings.CutPrefix(m.Source, r.VolumePrefix)
	if r.VolumePrefix == "" || !ours || !volumeForm.MatchString(name) {
		return never("volumes", "the volume %s is none of this agent's", short(m.Source))
	}
	return nil
}

// judgeThere refuses a volume that is there and was made otherwise than a launch
// makes one: with options the local driver mounts anything.
func judgeThere(v volume.Volume) *Refusal {
	if v.Driver != "local" || len(v.Options) > 0 || v.ClusterVolume != nil {
		return never("volumes", "the volume %s is there, with driver %s and options: a plain local one is needed", short(v.Name), short(v.Driver))
	}
	return nil
}

// judgeBind looks at what a path leads to, not at how it is written.
func (p *Policy) judgeBind(m mount.Mount) *Refusal {
	if !inside(m.Source) {
		return never("binds", "%s is no clean absolute path below /", short(m.Source))
	}
	real, err := resolve(m.Source)
	if err != nil {
		return never("binds", "where %s leads can't be told: %v", short(m.Source), err)
	}
	if what, is := p.guarded(m.Source, real); is {
		return never("binds", "%s would give away %s", short(m.Source), short(what))
	}
	writable := false
	for _, b := range p.rules.Binds {
		folder, err := resolve(b.Path)
		if err != nil || !within(m.Source, b.Path) && !within(m.Source, folder) || !within(real, folder) {
			continue
		}
		if !b.ReadOnly || m.ReadOnly {
			return nil
		}
		writable = true
	}
	if writable {
		return unless("binds", fmt.Sprintf("binds: [%q]", m.Source), "%s may be mounted read-only alone", short(m.Source))
	}
	return unless("binds", fmt.Sprintf("binds: [%q]", m.Source), "%s leads to none of the folders that may be mounted", short(m.Source))
}

// guarded says whether one of the paths, which stand for one file, is a socket or
// has to do with what is protected.
func (p *Policy) guarded(paths ...string) (string, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	info, err := os.Stat(paths[0])
	if err == nil && info.Mode()&fs.ModeSocket != 0 {
		return "a socket of the host", true
	}
	for _, guarded := range p.protected {
		ways := []string{guarded}
		if real, err := resolve(guarded); err == nil && real != guarded {
			ways = append(ways, real)
		}
		for _, way := range ways {
			for _, one := range paths {
				if within(one, way) || within(way, one) {
					return guarded, true
				}
			}
			// Another name of the same file: a hard link, or a mount of the host's own.
			if other, statErr := os.Stat(way); err == nil && statErr == nil && os.SameFile(info, other) {
				return guarded, true
			}
		}
	}
	return "", false
}

// resolve follows symbolic links as far as the path exists. What lies beyond is
// taken as it is written.
func resolve(p string) (string, error) {
	rest := ""
	for at := p; ; at = path.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		switch {
		case err == nil:
			return path.Join(real, rest), nil
		case !errors.Is(err, fs.ErrNotExist) || at == "/":
			return "", err
		}
		if info, err := os.Lstat(at); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", fmt.Errorf("%s is a symbolic link to what is not there", at)
		}
		rest = path.Join(path.Base(at), rest)
	}
}

// inside says whether p is a clean absolute path below the root.
func inside(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" && !strings.ContainsFunc(p, func(c rune) bool { return c < ' ' })
}

// within says whether p is the folder or below it.
func within(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, folder+"/") || folder == "/"
}

func checkBind(p string) error {
	if p == "/" {
		return errors.New(`"/" is all of the host: name a folder`)
	}
	if !inside(p) {
		return fmt.Errorf("%q is no clean absolute path", p)
	}
	for _, guarded := range alwaysProtected {
		if within(p, guarded) {
			return fmt.Errorf("%q can't be allowed: it gives away %s", p, guarded)
		}
	}
	return nil
}

// tmpfsOptions are those that do no more than to size and restrict.
var tmpfsOptions = map[string]bool{
	"size": true, "mode": true, "uid": true, "gid": true, "nr_inodes": true, "nr_blocks": true, "rw": true, "ro": true,
	"exec": true, "noexec": true, "nosuid": true, "nodev": true, "noatime": true, "sync": true,
}

func (p *Policy) judgeTmpfs(r *docker.Request) *Refusal {
	for target, options := range r.Host.Tmpfs {
		if !inside(target) {
			return never("request", "the tmpfs' target %s is no clean absolute path below /", short(target))
		}
		if options == "" {
			continue
		}
		for option := range strings.SplitSeq(options, ",") {
			if key, _, _ := strings.Cut(option, "="); !tmpfsOptions[key] {
				return never("request", "the option %s of a tmpfs", short(option))
			}
		}
	}
	return nil
}
