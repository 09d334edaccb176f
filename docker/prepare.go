package docker

import (
	"context"
	"fmt"
	"time"

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
	if spec.PullPolicy == backend.PullAlways || b.images.Due(spec) {
		err = b.images.Pull(ctx, spec, time.Time{})
	} else {
		err = b.images.Ensure(ctx, spec)
	}
	if err != nil {
		return err
	}
	return b.locate(ctx, j)
}
