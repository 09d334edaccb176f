package backendtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var abilities = []promise{
	{"watch/wakes", "without a wake a freed slot stays unused until the next slow look", watchWakes},
	{"watch/ends with its context", "a watch that outlives its context is a leak for every reconnect", watchEnds},
	{"capacity/told for each spec", "the loop advertises what the backend has room for, template by template", capacityTold},
	{"prepare/then launch", "images are fetched ahead so that a launch takes no launch slot while it pulls", prepareLaunch},
	{"prepare/many at once", "a hundred pulls of one image run into a registry's limits", prepareMany},
	{"logs/in order", "a failed runner's last lines are all that people have to go on", logsOrder},
	{"logs/while it runs", "a job that hangs is looked into while it does, and programs complain on stderr", logsRunning},
	{"logs/unknown", "a runner that is gone has no log, and is told apart from one that printed nothing", logsUnknown},
}

// unlessLacking skips when err says that the backend lacks the ability.
func (s *suite) unlessLacking(err error) {
	s.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		s.Skipf("the backend lacks the ability: %v", err)
	}
}

// watch watches until the end of the subtest.
func (s *suite) watch() (wakes <-chan struct{}) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	woken := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- backend.Watch(ctx, s.b, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	s.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(grace):
			s.Errorf("Watch still runs %v after its context has ended", grace)
		}
	})
	select {
	case <-woken: // connected
	case err := <-ended:
		ended <- err
		s.unlessLacking(err)
		require.NoError(s, err, "watch")
	case <-time.After(s.patience):
		require.FailNow(s, "Watch does not wake when it has connected")
	}
	return woken
}

func watchWakes(s *suite) {
	wakes := s.watch()
	// woken waits until a look after a wake shows what is wanted.
	woken := func(what string, shows func() bool) {
		s.Helper()
		limit := time.After(s.patience)
		for !shows() {
			select {
			case <-wakes:
			case <-limit:
				require.FailNow(s, "no wake", "none came after the last look, though %s", what)
			}
		}
	}
	id := s.launch(s.harness.Runs())
	woken("a runner was launched", func() bool { return s.must(s.b, id).State == backend.Running })
	// More than once: an engine may tell of an end before its listings show it.
	for range 3 {
		exits := s.launch(s.harness.Exits(0))
		woken("a runner ended", func() bool { return s.must(s.b, exits).State.Ended() })
	}
	drain(wakes)
	require.NoError(s, s.b.Remove(s.ctx(), id))
	select {
	case <-wakes:
	case <-time.After(s.patience):
		require.FailNow(s, "no wake", "none came when a runner was removed")
	}
}

func drain(wakes <-chan struct{}) {
	select {
	case <-wakes:
	default:
	}
}

func watchEnds(s *suite) {
	s.watch() // its clean-up checks the end
	err := s.soon("Watch", 0, func(ctx context.Context) error { return backend.Watch(ctx, s.b, func() {}) })
	require.Error(s, err, "a watch tells why it ended")
}

func capacityTold(s *suite) {
	specs := []backend.Spec{s.harness.Runs(), s.harness.Exits(0), s.harness.Runs()}
	before, err := backend.Capacity(s.ctx(), s.b, specs)
	s.unlessLacking(err)
	require.NoError(s, err)
	require.Len(s, before, len(specs), "one number for each spec")
	require.Positive(s, before[0], "an engine of this suite has room for a runner")
	require.Equal(s, before[0], before[2], "the same spec twice")
	exhauster, bounded := s.harness.(Exhauster)
	if bounded {
		require.Equal(s, exhauster.Room(), before[0], "the room of an empty engine")
	}
	for n := 1; n <= 2; n++ {
		s.running()
		after, err := backend.Capacity(s.ctx(), s.b, specs)
		require.NoError(s, err)
		require.LessOrEqual(s, after[0], before[0], "room grows by a launch")
		if bounded {
			require.Equal(s, before[0]-n, after[0], "the room beside %d", n)
		}
	}
	s.ended(s.b, s.launch(s.harness.Exits(0)))
	if bounded {
		s.eventually("a runner that has ended takes up no room", func() bool {
			after, err := backend.Capacity(s.ctx(), s.b, specs)
			return err == nil && after[0] == before[0]-2
		})
	}
	none, err := backend.Capacity(s.ctx(), s.b, nil)
	require.NoError(s, err)
	require.Empty(s, none)
	if breaker, ok := s.harness.(Breaker); ok {
		s.outage(breaker, func() {
			s.eventually("Capacity errs or tells no room", func() bool {
				room, err := backend.Capacity(s.ctx(), s.b, specs)
				return err != nil || room[0] == 0
			})
		})
	}
}

func prepareLaunch(s *suite) {
	spec := s.harness.Runs()
	err := backend.Prepare(s.ctx(), s.b, spec)
	s.unlessLacking(err)
	require.NoError(s, err)
	require.Empty(s, s.list(s.b).Runners, "Prepare launches nothing")
	s.running()
}

func prepareMany(s *suite) {
	spec := s.harness.Runs()
	s.unlessLacking(backend.Prepare(s.ctx(), s.b, spec))
	errs := together(crowd, func(i int) error {
		if i == 0 { // one who stops waiting does not stop the others
			_ = s.soon("Prepare", 0, func(ctx context.Context) error { return backend.Prepare(ctx, s.b, spec) })
			return nil
		}
		return backend.Prepare(s.ctx(), s.b, spec)
	})
	for _, err := range errs {
		require.NoError(s, err)
	}
}

// read reads the log of the runner id.
func (s *suite) read(id string, tail int) string {
	s.Helper()
	return s.readFrom(func(ctx context.Context) (io.ReadCloser, error) { return backend.Logs(ctx, s.b, id, tail) })
}

func (s *suite) readFrom(logs func(context.Context) (io.ReadCloser, error)) string {
	s.Helper()
	var text []byte
	err := s.soon("Logs", s.patience, func(ctx context.Context) error {
		log, err := logs(ctx)
		if err != nil {
			return err
		}
		text, err = io.ReadAll(log)
		return errors.Join(err, log.Close(), ctx.Err()) // one that ends with its ctx alone blocks
	})
	s.unlessLacking(err)
	require.NoError(s, err, "logs")
	return string(text)
}

func logsOrder(s *suite) {
	printer := need[Printer](s)
	var lines []string
	for i := range 50 {
		lines = append(lines, fmt.Sprintf("line %d of 50, größe", i))
	}
	id := s.launch(printer.Prints(lines))
	s.ended(s.b, id)
	all := strings.Join(lines, "\n") + "\n"
	s.eventually("the log is whole", func() bool { return len(s.read(id, 0)) >= len(all) }, func() string { return s.read(id, 0) })
	require.Equal(s, all, s.read(id, 0))
	require.Equal(s, strings.Join(lines[47:], "\n")+"\n", s.read(id, 3), "the last three lines")
	require.Equal(s, all, s.read(id, 1000), "more lines than there are")
	require.NoError(s, s.b.Remove(s.ctx(), id))
	_, err := backend.Logs(s.ctx(), s.b, id, 0)
	require.ErrorIs(s, err, fs.ErrNotExist, "the log of a runner that is gone")
}

func logsRunning(s *suite) {
	spec := s.spec(need[Teller](s).Tells())
	s.launchSpec(s.b, spec)
	s.runs(spec.ID)
	s.eventually("what it has printed on stderr is in its log, and the log ends there", func() bool {
		return strings.Contains(s.read(spec.ID, 0), canaryName+"="+canaryValue+"\n")
	}, func() string { return fmt.Sprintf("the log: %q", s.read(spec.ID, 0)) })
	require.Equal(s, backend.Running, s.must(s.b, spec.ID).State)
}

func logsUnknown(s *suite) {
	id, err := uuid.NewV7()
	require.NoError(s, err)
	_, err = backend.Logs(s.ctx(), s.b, id.String(), 0)
	s.unlessLacking(err)
	require.ErrorIs(s, err, fs.ErrNotExist)
}
