package hub_test

import (
	"context"
	"log"
	"os"
	"os/signal"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// A hub and a loop over its queue in one program: jobs that are submitted to it
// run as processes of this machine.
func Example() {
	process.Main()
	h, err := hub.Open(context.Background(), hub.Config{DataDir: "/var/lib/ci/hub"})
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.WriteString(h.AdminToken().Reveal() + "\n") // empty but for the first start

	plane, err := plane.New(context.Background(), h.Queue(), plane.Config{RunnerURL: h.RunnerURL()})
	if err != nil {
		log.Fatal(err)
	}
	owner, err := plane.Identify(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	engine, err := process.New(process.Config{Owner: owner.ID, Dir: "/var/lib/ci/runners", Runner: []string{"/usr/local/bin/slipway-runner"}})
	if err != nil {
		log.Fatal(err)
	}
	loop, err := provisioner.New(provisioner.Config{
		ControlPlane: plane, Backend: engine,
		Templates: []template.Template{{Key: "small", Labels: []string{"linux"}, CPU: 1, Memory: 1 << 30, MaxConcurrency: 4}},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := together(ctx, h, loop); err != nil {
		log.Fatal(err)
	}
}

// together runs both until ctx ends, or one of them can't go on. The loop ends
// first, and the hub when it has: what the loop has to report of the launches that
// were under way still finds the queue.
func together(ctx context.Context, h *hub.Hub, loop *provisioner.Loop) error {
	group, ctx := errgroup.WithContext(ctx)
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return h.Run(serving) })
	group.Go(func() error {
		defer end()
		return loop.Run(ctx)
	})
	return group.Wait()
}
