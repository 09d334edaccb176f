// Command embed runs the loop inside a program of its own: the jobs come over a channel.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

func main() {
	process.Main() // this program is the supervisor of its runners, too
	dir, err := os.MkdirTemp("", "slipway-embed-")
	check(err)
	defer os.RemoveAll(dir)
	engine, err := process.New(process.Config{Owner: "embed", Dir: dir})
	check(err)
	jobs, results := make(chan Job), make(chan string)
	small := template.Template{Key: "small", Labels: []string{"linux"}, CPU: 1, Memory: 1 << 30, MaxConcurrency: 2}
	loop, err := provisioner.New(provisioner.Config{
		ControlPlane: NewPlane(jobs, results), Backend: engine, Templates: []template.Template{small},
	})
	check(err)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		for _, who := range []string{"Ada", "Grace", "Edsger"} {
			jobs <- Job{Labels: []string{"linux"}, Command: []string{"sh", "-c", "echo hello " + who}}
			fmt.Println(<-results)
		}
		stop()
	}()
	check(loop.Run(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
