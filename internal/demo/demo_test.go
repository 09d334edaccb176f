package demo

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/internal/enginetest"
	"github.com/slipway-ci/slipway/internal/runner"
)

// TestMain makes this program what the demo needs of the one that calls it.
func TestMain(m *testing.M) {
	process.Main()
	if len(os.Args) == 2 && os.Args[1] == RunnerArgument {
		os.Exit(runner.Main(nil, os.Environ(), os.Stderr))
	}
	if len(os.Args) == 2 && os.Args[1] == hangingArgument {
		os.Exit(hanging())
	}
	os.Exit(m.Run())
}

// output is what a demo writes; then is called with each write, without the lock.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	then func(all string)
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	o.text.Write(p)
	all := o.text.String()
	o.mu.Unlock()
	if o.then != nil {
		o.then(all)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// alone gives the demo a temporary folder of its own, and checks at the end that
// the folder is empty and no process is left that knows of it.
func alone(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "files are left behind")
		require.Empty(t, processesOf(t, dir), "processes are left behind")
		goleak.VerifyNone(t, before)
	})
}

// processesOf finds the processes other than this one with text in their
// environment, arguments or working folder.
func processesOf(t *testing.T, text string) (found []string) {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, folder := range folders {
		if filepath.Base(folder) == "self" || filepath.Base(folder) == strconv.Itoa(os.Getpid()) {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(folder, "environ"))
		args, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(folder, "cwd"))
		if strings.Contains(string(environ)+string(args)+cwd, text) {
			found = append(found, folder+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return found
}

// wayOf is what the output says of one job, without its log.
func wayOf(text, job string) (way []string) {
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && name == job && !strings.Contains(rest, "|") {
			way = append(way, strings.TrimSpace(rest))
		}
	}
	return way
}

func TestEveryJobGoesTheWholeWay(t *testing.T) {
	alone(t)
	out := &output{}
	require.NoError(t, Run(t.Context(), Config{Backend: BackendProcess, Jobs: 6, Out: out}), out)
	text := out.String()
	for _, job := range []string{"greet", "count", "env", "streams", "command", "greet-2"} {
		require.Equal(t, []string{"queued", "reserved", "launched", "running", "succeeded, exit code 0"}, wayOf(text, job), job)
	}
	require.Contains(t, text, "demo: backend process: as asked\n")
	for _, line := range []string{
		"count   | step 1 of 3\n", "env     | the submitter says: good morning\n", "command | an argv, and no shell\n",
	} {
		require.Contains(t, text, line)
	}
	stdout, stderr := strings.Index(text, "this went to stdout"), strings.Index(text, "and this to stderr")
	require.True(t, 0 < stdout && stdout < stderr, "the streams are in order")
	require.True(t, strings.HasSuffix(text, "\ndemo: 6 of 6 jobs succeeded\n"), text)
}

// A runner that ended makes room for the next job at once: no poll of 30 s is
// waited out with jobs in the queue.
func TestMoreJobsThanRoomAreDoneWithoutAPause(t *testing.T) {
	alone(t)
	var mu sync.Mutex
	last, pause := time.Now(), time.Duration(0)
	out := output{then: func(string) {
		mu.Lock()
		defer mu.Unlock()
		last, pause = time.Now(), max(pause, time.Since(last))
	}}
	require.NoError(t, Run(t.Context(), Config{Jobs: 16, Backend: BackendProcess, Out: &out}), out.String())
	require.Contains(t, out.String(), "demo: 16 of 16 jobs succeeded")
	require.Less(t, pause, 25*time.Second, "however slow it is, something is always under way: %s", out.String())
}

func TestAFailedJobIsNamed(t *testing.T) {
	alone(t)
	change(t, 1, func(run *string) { *run = "echo before\nexit 7" })
	out := &output{}
	err := Run(t.Context(), Config{Backend: BackendProcess, Jobs: 3, Out: out})
	require.EqualError(t, err, "job count: failed, exit code 7")
	require.Contains(t, out.String(), "| before\n")
	require.True(t, strings.HasSuffix(out.String(), "\ndemo: 2 of 3 jobs succeeded\n"), out)
}

// change makes a sample do something else for this test.
func change(t *testing.T, i int, edit func(run *string)) {
	t.Helper()
	saved := slices.Clone(samples)
	t.Cleanup(func() { samples = saved })
	samples = slices.Clone(samples)
	edit(&samples[i].Run)
}

func TestAnInterruptCleansUp(t *testing.T) {
	alone(t)
	change(t, 0, func(run *string) { *run = "sleep 600 & echo asleep; wait" })
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	out := &output{}
	out.then = func(all string) {
		if strings.Contains(all, "| asleep") {
			cancel(why)
		}
	}
	err := Run(ctx, Config{Backend: BackendProcess, Jobs: 1, Out: out})
	require.ErrorIs(t, err, why)
	require.ErrorContains(t, err, "job greet: still running")
	require.True(t, strings.HasSuffix(out.String(), "demo: 0 of 1 jobs succeeded\n"), out)
}

// Whatever is under way when the demo is ended fails for that, and no jobs is no result.
func TestAnInterruptBeforeTheJobsIsNoFailure(t *testing.T) {
	for _, at := range []string{"demo: backend process", "demo: hub at "} {
		alone(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		out := &output{}
		out.then = func(all string) {
			if strings.Contains(all, at) {
				cancel(errors.New("enough"))
			}
		}
		require.EqualError(t, Run(ctx, Config{Backend: BackendProcess, Jobs: 1, Out: out}), "enough")
		require.NotContains(t, out.String(), "succeeded")
	}
}

func TestATimeoutIsTheReason(t *testing.T) {
	alone(t)
	change(t, 0, func(run *string) { *run = "sleep 600" })
	err := Run(t.Context(), Config{Backend: BackendProcess, Jobs: 1, Out: &output{}, Timeout: time.Second})
	require.ErrorContains(t, err, "not done after 1s")
}

func TestAReaderThatIsGoneLeavesNothingBehind(t *testing.T) {
	alone(t)
	err := Run(t.Context(), Config{Backend: BackendProcess, Out: brokenPipe{errors.New("broken pipe")}})
	require.EqualError(t, err, "the output can't be written: broken pipe", "what fails then fails for that, and is told once")
}

func TestUsage(t *testing.T) {
	for _, c := range []Config{{Jobs: -1}, {Jobs: maxJobs + 1}, {Backend: "podman"}, {Timeout: -1}} {
		c.Out = &output{}
		require.ErrorIs(t, Run(t.Context(), c), ErrUsage)
	}
}

func TestAutoWithoutAnEngineSaysWhy(t *testing.T) {
	alone(t)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "no-engine.sock"))
	out := &output{}
	require.NoError(t, Run(t.Context(), Config{Jobs: 1, Out: out}))
	require.Regexp(t, `(?m)^demo: backend process: no Docker engine answers: .*no-engine\.sock.*$`, out.String())

	out = &output{}
	err := Run(t.Context(), Config{Jobs: 1, Backend: BackendDocker, Out: out})
	require.ErrorContains(t, err, "no Docker engine answers", "what was asked for is not replaced")
	require.NotContains(t, out.String(), "succeeded", "nothing was submitted")
}

func TestAutoWithoutTheImageSaysWhy(t *testing.T) {
	enginetest.Engine(t)
	alone(t)
	out := &output{}
	// Nothing listens on this registry: the engine says so at once.
	require.NoError(t, Run(t.Context(), Config{Jobs: 1, Image: "127.0.0.1:1/no/image:1", Out: out}))
	require.Regexp(t, `(?m)^demo: backend process: image 127\.0\.0\.1:1/no/image:1 is not there and can't be pulled: .+$`, out.String())
}

func TestOnDocker(t *testing.T) {
	image := enginetest.BusyboxImage(t)
	alone(t)
	out, owner := &output{}, ""
	require.NoError(t, Run(t.Context(), Config{
		Backend: BackendDocker, Image: image, Jobs: 3, Out: out, owned: func(id string) { owner = id },
	}), out)
	require.Contains(t, out.String(), "demo: backend docker: ")
	require.Equal(t, []string{"queued", "reserved", "launched", "running", "succeeded, exit code 0"}, wayOf(out.String(), "env"))
	require.True(t, strings.HasSuffix(out.String(), "\ndemo: 3 of 3 jobs succeeded\n"), out)
	require.Empty(t, leftOnEngine(t, owner))
}

func TestAnInterruptOnDockerCleansUp(t *testing.T) {
	image := enginetest.BusyboxImage(t)
	alone(t)
	change(t, 0, func(run *string) { *run = "echo asleep; sleep 600" })
	why, owner := errors.New("enough"), ""
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	out := &output{}
	out.then = func(all string) {
		if strings.Contains(all, "| asleep") {
			cancel(why)
		}
	}
	err := Run(ctx, Config{Backend: BackendDocker, Image: image, Jobs: 1, Out: out, owned: func(id string) { owner = id }})
	require.ErrorIs(t, err, why)
	require.Empty(t, leftOnEngine(t, owner))
}

// leftOnEngine tells the containers and networks that bear the owner's id.
func leftOnEngine(t *testing.T, owner string) (left []string) {
	t.Helper()
	require.NotEmpty(t, owner)
	engine := enginetest.Engine(t)
	containers, err := engine.ContainerList(t.Context(), container.ListOptions{All: true})
	require.NoError(t, err)
	for _, c := range containers {
		if slices.Contains(slices.Collect(maps.Values(c.Labels)), owner) {
			left = append(left, c.Names...)
		}
	}
	networks, err := engine.NetworkList(t.Context(), network.ListOptions{})
	require.NoError(t, err)
	for _, n := range networks {
		if slices.Contains(slices.Collect(maps.Values(n.Labels)), owner) {
			left = append(left, n.Name)
		}
	}
	return left
}
