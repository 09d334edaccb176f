package backendtest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// launchBeside does everything beside a launch that hangs.
func launchBeside(s *suite) {
	staller := need[Staller](s)
	there, spec := s.running(), s.spec(s.harness.Runs())
	ended := s.hangs(spec, staller.Stall(s.T, spec.ID))
	beside := func(what string, f func(context.Context) error) {
		s.Helper()
		require.NoError(s, s.soon(what, s.patience, f), "%s beside a launch that hangs", what)
	}
	beside("List", func(ctx context.Context) error {
		listing, err := s.b.List(ctx)
		if _, ok := pick(listing, there); err == nil && !ok {
			s.Errorf("runner %s is not listed", there)
		}
		return err
	})
	other := s.spec(s.harness.Runs())
	beside("Launch", func(ctx context.Context) error { return s.b.Launch(ctx, other) })
	s.runs(other.ID)
	beside("Remove", func(ctx context.Context) error { return s.b.Remove(ctx, there) })
	select {
	case err := <-ended:
		require.FailNow(s, "the launch that hangs has returned", "%v", err)
	default:
	}
}

// hangs launches spec, which hangs, and returns when it does. The launch is cut
// off with the subtest, and must end soon after that.
func (s *suite) hangs(spec backend.Spec, reached <-chan struct{}) (ended <-chan error) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	answer, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		answer <- s.b.Launch(ctx, spec)
	}()
	s.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(grace):
			s.Errorf("Launch still waits %v after its ctx has ended", grace)
		}
	})
	select {
	case <-reached:
	case err := <-answer:
		require.FailNow(s, "a launch that the harness stalls has returned", "%v", err)
	case <-time.After(s.patience):
		require.FailNow(s, "a launch that the harness stalls does not reach the engine")
	}
	return answer
}
