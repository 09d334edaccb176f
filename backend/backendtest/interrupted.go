package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var interrupted = []promise{
	{"interrupted/launch, then again", "a launch cut off half-way leaves something that the next one with this id must finish, or find", interruptedLaunchAgain},
	{"interrupted/launch, then remove", "half-made things that no Remove clears fill the engine up", interruptedLaunchRemove},
	{"interrupted/launch before it began", "a call whose context is over must not start a job's runner behind its caller's back and deny it", interruptedBefore},
	{"interrupted/remove", "a removal cut off half-way is finished by the next", interruptedRemove},
	{"interrupted/list", "a listing cut off half-way is an error, never a part", interruptedList},
}

// moments are when a context ends; a launch takes longer than some of them.
var moments = []time.Duration{0, 200 * time.Microsecond, 2 * time.Millisecond, 10 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond}

// cutOff launches with a ctx that ends after d, and checks the answer's class.
func (s *suite) cutOff(spec backend.Spec, d time.Duration) error {
	s.Helper()
	err := s.soon("Launch", d, func(ctx context.Context) error { return s.b.Launch(ctx, spec) })
	if err != nil && backend.IsDefinite(err) {
		s.gone(s.b, spec.ID)
	}
	return err
}

func interruptedLaunchAgain(s *suite) {
	for _, d := range moments {
		spec := s.spec(s.harness.Runs())
		first := s.cutOff(spec, d)
		again := s.b.Launch(s.ctx(), spec)
		switch {
		case first == nil:
			require.ErrorIs(s, again, backend.ErrExists, "after %v the launch had succeeded", d)
		case again != nil:
			require.ErrorIs(s, again, backend.ErrExists, "after a launch that was cut off after %v (%v)", d, first)
		}
		s.runs(spec.ID)
		s.alive(spec.ID, 1)
	}
	require.Len(s, s.list(s.b).Runners, len(moments))
}

func interruptedLaunchRemove(s *suite) {
	var ids []string
	for _, d := range moments {
		spec := s.spec(s.harness.Runs())
		_ = s.cutOff(spec, d)
		require.NoError(s, s.b.Remove(s.ctx(), spec.ID))
		ids = append(ids, spec.ID)
	}
	s.running() // what was under way has had its time
	// An uncertain launch may come after its Remove; the next one clears it.
	s.eventually("nothing is left of what was cut off", func() bool {
		left := false
		for _, id := range ids {
			if _, ok := s.find(s.b, id); ok {
				left = true
				require.NoError(s, s.b.Remove(s.ctx(), id))
			}
		}
		return !left
	})
	for _, id := range ids {
		s.dead(id)
	}
}

func interruptedBefore(s *suite) {
	spec := s.spec(s.harness.Runs())
	err := s.cutOff(spec, 0)
	require.Error(s, err, "with a context that was over before the call")
	require.False(s, errors.Is(err, backend.ErrExists), "nobody launched it before")
}

func interruptedRemove(s *suite) {
	for _, d := range moments[:4] {
		id := s.running()
		err := s.soon("Remove", d, func(ctx context.Context) error { return s.b.Remove(ctx, id) })
		if err == nil {
			s.gone(s.b, id)
		}
		require.NoError(s, s.b.Remove(s.ctx(), id), "after one that was cut off after %v (%v)", d, err)
		s.gone(s.b, id)
		s.dead(id)
	}
}

func interruptedList(s *suite) {
	want := []string{s.running(), s.running()}
	for _, d := range moments {
		var listing backend.Listing
		err := s.soon("List", d, func(ctx context.Context) (err error) {
			listing, err = s.b.List(ctx)
			return err
		})
		if err != nil {
			continue
		}
		for _, id := range want {
			_, ok := pick(listing, id)
			require.True(s, ok, "a listing whose context ended after %v came without an error and without %s", d, id)
		}
	}
}
