package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/backend"
)

// Prepare implements backend.Preparer. It also finds what makes a spec invalid,
// so that no registration is spent on it.
//
// How old an image is for PullIfOlder counts from this Backend's last pull of
// it. A new Backend knows of none, and asks the registry once; where nothing
// changed there the engine fetches nothing.
func (b *Backend) Prepare(ctx context.Context, spec backend.Spec) error {
	if err := b.prepare(ctx, spec); err != nil {
		return fmt.Errorf("prepare image %s: %w", spec.Image, err)
	}
	return nil
}

func (b *Backend) prepare(ctx context.Context, spec backend.Spec) error {
	spec.ID = uuid.Nil.String()
	j, err := b.job(spec)
	if err != nil {
		return err
	}
	spec = j.spec
	if err := b.ready(ctx); err != nil {
		return err
	}
	b.extraHosts(j.host)
	if err := b.review(ctx, j); err != nil {
		return err
	}
	if spec.PullPolicy == backend.PullAlways || b.pullDue(spec) {
		if err := b.pull(ctx, spec); err != nil {
			return err
		}
	} else if err := b.ensureImage(ctx, spec); err != nil {
		return err
	}
	return b.locate(ctx, j)
}

// ensureImage pulls the image if the engine has none, unless the policy forbids.
func (b *Backend) ensureImage(ctx context.Context, spec backend.Spec) error {
	image, err := b.client.ImageInspect(ctx, spec.Image)
	switch {
	case err == nil && (spec.Arch == "" || image.Architecture == spec.Arch) && (spec.OS == "" || image.Os == spec.OS):
		return nil
	case err == nil && spec.PullPolicy == backend.PullNever:
		return invalid("the engine has it for %s/%s, and the policy is never to pull", image.Os, image.Architecture)
	case err != nil && (!cerrdefs.IsNotFound(err) || spec.PullPolicy == backend.PullNever):
		return failure(ctx, err)
	}
	return b.pull(ctx, spec)
}

// pullRule says how long a pull is good for: 0 asks for none, as long as the
// image is there.
func (b *Backend) pullRule(spec backend.Spec) (time.Duration, error) {
	switch spec.PullPolicy {
	case "", backend.PullIfNotPresent, backend.PullNever:
		return 0, nil
	case backend.PullAlways:
		return b.config.PullWindow, nil
	case backend.PullIfOlder:
		if spec.PullMaxAge <= 0 {
			return 0, invalid("pull max age %v: above 0 is needed", spec.PullMaxAge)
		}
		return spec.PullMaxAge, nil
	}
	return 0, invalid("there is no pull policy %q", spec.PullPolicy)
}

// pullDue says whether the policy wants a pull before a launch now, even when
// the image is there.
func (b *Backend) pullDue(spec backend.Spec) bool {
	good, err := b.pullRule(spec)
	if err != nil || good == 0 {
		return false
	}
	last, known := b.pulls.last(pullKey(spec))
	return !known || time.Since(last) > good
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
