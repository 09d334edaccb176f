package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// The benchmark launches benchRounds times benchBatch runners on each side,
// benchParallel at a time.
const (
	benchRounds   = 10
	benchBatch    = 10
	benchParallel = 5
)

// BenchmarkLaunch100 compares 100 launches through the Backend with the same 100
// pairs of create and start made straight at the engine, with the same options
// and parallelism. The rounds of both sides take turns, so that what else the
// machine does weighs on both. It reports the ratio of the medians.
func BenchmarkLaunch100(b *testing.B) {
	engine := enginetest.Engine(b)
	image := enginetest.BusyboxImage(b)
	backed, err := New(Config{Owner: enginetest.Owner(b), Host: engine.DaemonHost()})
	require.NoError(b, err)
	b.Cleanup(func() {
		if err := backed.Purge(context.WithoutCancel(b.Context())); !errors.Is(err, ErrNetworkHeld) {
			require.NoError(b, err)
		}
		require.NoError(b, backed.Close())
	})
	raw, err := connect(backed.address)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, raw.Close()) })

	through := func(ctx context.Context, spec backend.Spec) error { return backed.Launch(ctx, spec) }
	straight := func(ctx context.Context, spec backend.Spec) error {
		j, err := backed.job(spec)
		if err != nil {
			return err
		}
		backed.extraHosts(j.host)
		created, err := raw.ContainerCreate(ctx, j.config, j.host, nil, j.platform, backed.name(spec.ID))
		if err != nil {
			return err
		}
		return raw.ContainerStart(ctx, created.ID, startOptions)
	}
	sides := []func(context.Context, backend.Spec) error{through, straight}
	round(b, backed, image, through, 2) // the network, and whatever else is made once

	var took [2][]time.Duration
	b.ResetTimer()
	for range b.N {
		for r := range benchRounds {
			for _, side := range []int{r % 2, 1 - r%2} { // who goes first changes
				took[side] = append(took[side], round(b, backed, image, sides[side], benchBatch))
			}
		}
	}
	b.StopTimer()
	ours, theirs := median(took[0]), median(took[1])
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
	b.ReportMetric(float64(ours.Milliseconds())/benchBatch, "ms/launch")
	b.ReportMetric(float64(theirs.Milliseconds())/benchBatch, "ms/straight")
}

// round launches n runners, tells how long that took, and removes them.
func round(b *testing.B, backed *Backend, image string, launch func(context.Context, backend.Spec) error, n int) time.Duration {
	b.Helper()
	specs := make([]backend.Spec, n)
	for i := range specs {
		specs[i] = backend.Spec{
			ID: uuid.Must(uuid.NewV7()).String(), Image: image, PullPolicy: backend.PullNever,
			Labels: map[string]string{"template": "bench"}, Env: map[string]string{"N": fmt.Sprint(i)},
			Entrypoint: []string{"/bin/sleep"}, Command: []string{"600"}, CPU: 1, Memory: 64 << 20,
		}
	}
	began := time.Now()
	each(b, specs, func(s backend.Spec) error { return launch(b.Context(), s) })
	took := time.Since(began)
	each(b, specs, func(s backend.Spec) error { return backed.Remove(b.Context(), s.ID) })
	return took
}

// each does something with every spec, benchParallel at a time.
func each(b *testing.B, specs []backend.Spec, do func(backend.Spec) error) {
	b.Helper()
	work := make(chan backend.Spec)
	var wg sync.WaitGroup
	for range benchParallel {
		wg.Go(func() {
			for spec := range work {
				if err := do(spec); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, spec := range specs {
		work <- spec
	}
	close(work)
	wg.Wait()
}

func median(d []time.Duration) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}
