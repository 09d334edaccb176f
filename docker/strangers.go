package docker

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// Strangers counts the containers that bear the owner's label of this schema and
// are not ours: runners of other owners that share the engine.
func (b *Backend) Strangers(ctx context.Context) (int, error) {
	if err := b.ready(ctx); err != nil {
		return 0, err
	}
	all, err := b.client.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", b.config.Schema.Owner)),
	})
	if err != nil {
		return 0, fmt.Errorf("count the runners of others: %w", fault.Of(ctx, err))
	}
	n := 0
	for _, c := range all {
		if _, ours := b.recognize(c); !ours {
			n++
		}
	}
	return n, nil
}
