package backendtest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// crowd is how many calls make "many at once".
const crowd = 6

var launching = []promise{
	{"launch/started and listed", "a runner that was launched and is not listed is launched again: one job too many", launchListed},
	{"launch/outlives its context", "the context bounds the call: a runner that ends with it takes its job along", launchOutlives},
	{"launch/twice", "the id is the idempotency key: a repeated request must find the first one's runner", launchTwice},
	{"launch/twice in parallel", "two workers, or a retry that overtakes its first try, must not start two processes with one registration", launchTwiceInParallel},
	{"launch/again after the end", "ids are never reused: a process started anew would spend a registration twice", launchAfterEnd},
	{"launch/many in parallel", "a hundred jobs arrive at once, and none of their launches may disturb another", launchMany},
	{"launch/keeps no hold of the spec", "the caller may change its maps when Launch has returned", launchClones},
	{"launch/its own environment", "the environment holds the registration: without it no runner registers, with another's two take one job, and the backend's own is full of secrets", launchEnvironment},
	{"launch/beside one that hangs", "one bad image or host must not stop the others: no lock is held across a call that can hang", launchBeside},
	{"launch/what can't be honoured", "a job that asked for an unprivileged user would run as root: what is passed over in silence is found out too late", launchLacking},
	{"launch/invalid", "ErrInvalid is definite: the loop drops the launch and backs the template off, so nothing may have been started", launchInvalid},
	{"launch/no room", "ErrExhausted is definite: the grant goes elsewhere, so nothing may have been started", launchNoRoom},
}

func launchListed(s *suite) {
	id := s.launch(s.harness.Runs())
	r := s.must(s.b, id)
	require.True(s, r.State.HoldsSlot(), "a launched runner holds a slot, and is told as %s", r.State)
	require.NotEqual(s, backend.Unknown, r.State, "its engine can be observed")
	s.runs(id)
}

func launchOutlives(s *suite) {
	id := s.running()    // its launch's ctx has ended
	other := s.running() // what comes of that has had its time
	require.NoError(s, s.b.Remove(s.ctx(), other))
	s.runs(id)
	s.alive(id, 1)
}

func launchTwice(s *suite) {
	spec := s.spec(s.harness.Runs())
	s.launchSpec(s.b, spec)
	first := s.runs(spec.ID)
	err := s.b.Launch(s.ctx(), spec)
	require.ErrorIs(s, err, backend.ErrExists, "the second launch")
	require.False(s, backend.IsDefinite(err), "ErrExists is success, and was also told as a definite failure: %v", err)
	require.NotContains(s, err.Error(), canaryValue, "the environment in an error")
	second := s.must(s.b, spec.ID)
	require.Equal(s, first.Started, second.Started, "the second launch started it anew")
	s.alive(spec.ID, 1)
}

// alive checks the number of processes where the harness can tell. One that is just
// becoming another program may not be seen for a moment; what has ended stays so.
func (s *suite) alive(id string, want int) {
	s.Helper()
	p, ok := s.harness.(Prober)
	if !ok {
		return
	}
	got := p.Alive(s.T, id)
	if got < want {
		s.eventually("its processes are seen", func() bool { got = p.Alive(s.T, id); return got >= want })
	}
	require.Equal(s, want, got, "processes of runner %s", id)
}

func launchTwiceInParallel(s *suite) {
	spec := s.spec(s.harness.Runs())
	errs := together(crowd, func(int) error { return s.b.Launch(s.ctx(), spec) })
	for _, err := range errs {
		if err != nil {
			require.ErrorIs(s, err, backend.ErrExists, "each launch starts it or finds it started")
		}
	}
	require.True(s, slices.Contains(errs, nil), "none of the launches started it: %v", errs)
	s.runs(spec.ID)
	require.Len(s, s.list(s.b).Runners, 1)
	s.alive(spec.ID, 1)
}

func launchAfterEnd(s *suite) {
	spec := s.spec(s.harness.Exits(0))
	s.launchSpec(s.b, spec)
	before := s.ended(s.b, spec.ID)
	require.ErrorIs(s, s.b.Launch(s.ctx(), spec), backend.ErrExists)
	after := s.must(s.b, spec.ID)
	require.Equal(s, before.State, after.State, "the launch brought an ended runner to life")
	require.Equal(s, before.Started, after.Started, "the launch started an ended runner anew")
}

func launchMany(s *suite) {
	specs := make([]backend.Spec, crowd)
	for i := range specs {
		specs[i] = s.spec(s.harness.Runs())
	}
	var mu sync.Mutex
	returned := map[string]time.Time{}
	done := make(chan struct{})
	s.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for i, err := range together(crowd, func(i int) error {
			err := s.b.Launch(s.ctx(), specs[i])
			mu.Lock()
			defer mu.Unlock()
			returned[specs[i].ID] = time.Now()
			return err
		}) {
			if err != nil {
				s.Errorf("launch %s: %v", specs[i].ID, err)
			}
		}
	}()
	// Each listing must have every runner whose launch had returned when it began.
	s.eventually("all are launched and a listing that began later was seen", func() bool {
		listing := s.list(s.b)
		mu.Lock()
		defer mu.Unlock()
		later := 0
		for id, at := range returned {
			if at.Before(listing.Began) {
				later++
				_, ok := pick(listing, id)
				require.True(s, ok, "the launch of %s returned at %v, and the listing that began at %v lacks it", id, at, listing.Began)
			}
		}
		return later == crowd
	})
	require.Len(s, s.list(s.b).Runners, crowd)
}

func launchClones(s *suite) {
	spec := s.spec(s.harness.Runs())
	s.launchSpec(s.b, spec)
	spec.Labels["template"] = "changed by the caller"
	require.Equal(s, "small", s.must(s.b, spec.ID).Labels["template"])
	s.must(s.b, spec.ID).Labels["template"] = "changed by the caller"
	require.Equal(s, "small", s.must(s.b, spec.ID).Labels["template"], "the backend handed out its own map")
}

func launchInvalid(s *suite) {
	spec := s.spec(need[Invalider](s).Invalid())
	err := s.b.Launch(s.ctx(), spec)
	require.ErrorIs(s, err, backend.ErrInvalid)
	require.NotContains(s, err.Error(), canaryValue, "the environment in an error")
	require.Greater(s, len(strings.TrimSpace(strings.ReplaceAll(err.Error(), backend.ErrInvalid.Error(), ""))), 0, "it does not say what is invalid")
	s.gone(s.b, spec.ID)
	s.running() // the engine serves the next one
	s.gone(s.b, spec.ID)
}

func launchNoRoom(s *suite) {
	room := need[Exhauster](s).Room()
	var ids []string
	for range room {
		ids = append(ids, s.running())
	}
	spec := s.spec(s.harness.Runs())
	err := s.b.Launch(s.ctx(), spec)
	require.ErrorIs(s, err, backend.ErrExhausted)
	require.True(s, backend.IsDefinite(err))
	s.gone(s.b, spec.ID)
	if rooms, err := backend.Capacity(s.ctx(), s.b, []backend.Spec{s.harness.Runs()}); !errors.Is(err, errors.ErrUnsupported) {
		require.NoError(s, err)
		require.Equal(s, []int{0}, rooms, "the room of a full engine")
	}
	require.NoError(s, s.b.Remove(s.ctx(), ids[0]))
	require.NoError(s, s.b.Launch(s.ctx(), s.spec(s.harness.Runs())), "a removed runner gives its room back")
}
