package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// Config is what New needs: all of it.
type Config struct {
	// Client talks to the engine.
	Client *client.Client
	// Background runs what outlives the call that began it, by a ctx of its own.
	Background func(ctx context.Context, f func(context.Context)) error
	// Dir is the folder of the Docker config file; empty: Docker's own.
	Dir string
	// Timeout bounds one pull.
	Timeout time.Duration
	// Window is how long after a pull an image of policy "always" is just pulled.
	Window time.Duration
	// Logger gets pulls, with their progress.
	Logger hclog.Logger
}

// Images fetches the images of one engine. Its methods may be called from many
// goroutines at once.
type Images struct {
	config Config
	flight singleflight.Group
	mu     sync.Mutex
	done   map[string]pulled // the last good pull of each
}

type pulled struct{ began, ended time.Time }

// New makes one.
func New(c Config) *Images { return &Images{config: c, done: map[string]pulled{}} }

func (i *Images) last(key string) pulled {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.done[key]
}

func (i *Images) record(key string, p pulled) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.done[key] = p
}

// Ensure pulls the image if the engine has none, unless the policy forbids.
func (i *Images) Ensure(ctx context.Context, spec backend.Spec) error {
	looked := time.Now()
	image, err := i.config.Client.ImageInspect(ctx, spec.Image)
	switch {
	case err == nil && (spec.Arch == "" || image.Architecture == spec.Arch) && (spec.OS == "" || image.Os == spec.OS):
		return nil
	case err == nil && spec.PullPolicy == backend.PullNever:
		return fault.Invalid("the engine has it for %s/%s, and the policy is never to pull", image.Os, image.Architecture)
	case err != nil && (!cerrdefs.IsNotFound(err) || spec.PullPolicy == backend.PullNever):
		return fault.Of(ctx, err)
	}
	return i.Pull(ctx, spec, looked)
}

// Rule says how long a pull is good for: 0 asks for none, as long as the image is
// there. A policy that does not exist is ErrInvalid.
func (i *Images) Rule(spec backend.Spec) (time.Duration, error) {
	switch spec.PullPolicy {
	case "", backend.PullIfNotPresent, backend.PullNever:
		return 0, nil
	case backend.PullAlways:
		return i.config.Window, nil
	case backend.PullIfOlder:
		if spec.PullMaxAge <= 0 {
			return 0, fault.Invalid("pull max age %v: above 0 is needed", spec.PullMaxAge)
		}
		return spec.PullMaxAge, nil
	}
	return 0, fault.Invalid("there is no pull policy %q", spec.PullPolicy)
}

// Due says whether the policy wants a pull before a launch now, even when
// the image is there.
func (i *Images) Due(spec backend.Spec) bool {
	good, err := i.Rule(spec)
	if err != nil || good == 0 {
		return false
	}
	return time.Since(i.last(pullKey(spec)).began) > good
}

// pullKey is what one pull at a time is for. What one credential may fetch says
// nothing of another.
func pullKey(spec backend.Spec) string {
	key := spec.Image + " " + platform(spec)
	if c := spec.Credential; c != nil {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", c.Registry, c.Username, c.Password))
		key += " " + hex.EncodeToString(sum[:])
	}
	return key
}

// platform is the engine's word for it; empty: its own.
func platform(spec backend.Spec) string {
	if spec.OS == "" && spec.Arch == "" {
		return ""
	}
	system := spec.OS
	if system == "" {
		system = "linux"
	}
	return path.Join(system, spec.Arch)
}
