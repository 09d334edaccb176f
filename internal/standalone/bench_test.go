package standalone

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/enginetest"
)

const (
	benchJobs     = 100
	benchParallel = 16 // SLIPWAY_LAUNCH_PARALLELISM's default
	benchWindow   = 20 * time.Second
)

const sleepers = "templates:\n  sleeper:\n    labels: [bench]\n    image: " + enginetest.Image + "\n    pull_policy: never\n" +
	"    entrypoint: [/bin/sleep]\n    command: [\"600\"]\n    cpu: 0.1\n    memory: 64m\n    max_concurrency: 100\n"

// BenchmarkProvisioner measures the real program, in one run on one engine:
//
//	ratio        100 queued jobs until 100 containers run, against the same creates and starts straight at the engine
//	s/100, s/raw both of them
//	idle-MB, idle-cpu%, live-MB, live-cpu%  resident memory, and share of one core, without and with 100 live runners
//	ready-ms     from the start of the process to /readyz 200, median of nine
//
// Run it with -benchtime 1x.
func BenchmarkProvisioner(b *testing.B) {
	enginetest.BusyboxImage(b)
	d := newDock(b, "head", templates(b, sleepers))
	d.env = with(d.env, "SHIPFOX_PROVISIONER_DOCKER_NETWORK", "bridge", "LOG_LEVEL", "info")
	b.ReportMetric(float64(readyTime(b, d).Microseconds())/1000, "ready-ms")

	var ours, raw []time.Duration
	for range b.N {
		for i := range 3 {
			if i%2 == 1 {
				raw = append(raw, d.straight(b))
			}
			p := d.start()
			p.ready()
			if i == 0 {
				p.measure(b, "idle")
			}
			ours = append(ours, d.queued(b))
			if i == 2 {
				d.enrol(b)
				p.measure(b, "live")
			}
			p.kill()
			d.clear(b)
			if i%2 == 0 {
				raw = append(raw, d.straight(b))
			}
		}
	}
	b.ReportMetric(mid(ours).Seconds()/mid(raw).Seconds(), "ratio")
	b.ReportMetric(mid(ours).Seconds(), "s/100")
	b.ReportMetric(mid(raw).Seconds(), "s/raw")
	b.ReportMetric(0, "ns/op")
}

func mid(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func readyTime(b *testing.B, d *dock) time.Duration {
	var took []time.Duration
	for range 9 {
		began := time.Now()
		p := d.start()
		addr := p.addr()
		for {
			if status, _ := get(b, "http://"+addr+"/readyz"); status == 200 {
				break
			}
		}
		took = append(took, time.Since(began))
		p.kill()
	}
	return mid(took)
}

// queued has 100 jobs queued, and tells how long it takes until the engine runs
// as many containers.
func (d *dock) queued(b *testing.B) time.Duration {
	all := d.starts(b, benchJobs)
	began := time.Now()
	for range benchJobs {
		d.world.Submit(b, 1, "true", "bench")
	}
	<-all
	return time.Since(began)
}

// starts is closed when the engine has started n containers of the provisioner. It
// goes by the engine's events: to list them again and again would take its time from
// the launches, and the floor has nobody who does.
func (d *dock) starts(b *testing.B, n int) <-chan struct{} {
	ctx, cancel := context.WithTimeout(d.ctx(), 5*time.Minute)
	messages, errs := d.engine.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("event", string(events.ActionStart)),
		filters.Arg("label", "shipfox.provisioner_id="+d.owner),
	)})
	all := make(chan struct{})
	go func() {
		defer close(all)
		defer cancel()
		for range n {
			select {
			case <-messages:
			case err := <-errs:
				b.Error("the engine's events end:", err)
				return
			}
		}
	}()
	return all
}

// straight makes the same calls without us.
func (d *dock) straight(b *testing.B) time.Duration {
	work := make(chan int)
	var wg sync.WaitGroup
	began := time.Now()
	for range benchParallel {
		wg.Go(func() {
			for i := range work {
				made, err := d.engine.ContainerCreate(d.ctx(), &container.Config{
					Image: enginetest.Image, Entrypoint: []string{"/bin/sleep"}, Cmd: []string{"600"}, Env: []string{fmt.Sprint("N=", i)},
					Labels: map[string]string{"shipfox.provisioner_id": d.owner, "bench": "raw"},
				}, &container.HostConfig{
					NetworkMode: "bridge", Resources: container.Resources{NanoCPUs: 1e8, Memory: 64 << 20, MemorySwap: 64 << 20},
				}, nil, nil, uuid.Must(uuid.NewV7()).String())
				if err == nil {
					err = d.engine.ContainerStart(d.ctx(), made.ID, container.StartOptions{})
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range benchJobs {
		work <- i
	}
	close(work)
	wg.Wait()
	took := time.Since(began)
	d.clear(b)
	return took
}

// clear takes away all containers, and all jobs that still wait.
func (d *dock) clear(b *testing.B) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, benchParallel)
	for _, c := range d.containers() {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			d.remove(c.ID)
		})
	}
	wg.Wait()
	d.cancelJobs(b)
}

// enrol does for each container what its runner would: it takes its job.
func (d *dock) enrol(b *testing.B) {
	for _, c := range d.containers() {
		full, err := d.engine.ContainerInspect(d.ctx(), c.ID)
		require.NoError(b, err)
		env := map[string]string{}
		for _, entry := range full.Config.Env {
			name, value, _ := strings.Cut(entry, "=")
			env[name] = value
		}
		require.NoError(b, take(d.ctx(), env))
	}
}

// measure reports the resident memory and the share of a core of the program.
func (p *started) measure(b *testing.B, when string) {
	settle := time.NewTimer(12 * time.Second) // one more list, and one more ask
	<-settle.C
	before := p.cpu(b)
	window := time.NewTimer(benchWindow)
	<-window.C
	used := p.cpu(b) - before
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(b, err)
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(b, err)
	b.ReportMetric(float64(kilobytes)/1024, when+"-MB")
	b.ReportMetric(100*used.Seconds()/benchWindow.Seconds(), when+"-cpu%")
}

// cpu is the time on a core that the program has used so far (proc(5), schedstat).
func (p *started) cpu(b *testing.B) time.Duration {
	folders, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid))
	require.NoError(b, err)
	var sum time.Duration
	for _, folder := range folders {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", p.cmd.Process.Pid, folder.Name()))
		if err != nil {
			continue
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		require.NoError(b, err)
		sum += time.Duration(ns)
	}
	return sum
}
