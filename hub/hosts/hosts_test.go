package hosts

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/queue"
)

func TestAddTellsTheFleetAndGivesTheLine(t *testing.T) {
	w := newWorld(t)
	labels := map[string]string{"zone": "eu-1", "disk/type": ""}
	before := time.Now()
	h, i := w.add("builder-01", func(s *HostSpec) { s.Labels, s.MaxRunners, s.Cordoned, s.Isolated = labels, 4, true, true })
	require.Equal(t, "curl -fsSL https://ci.example.com/install/"+i.Token.Reveal()+".sh | sudo bash", i.Line)
	require.WithinDuration(t, before.Add(15*time.Minute), i.ExpiresAt, 5*time.Second, "an invitation lives 15 minutes")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", i, i, i, i), i.Token.Reveal()[8:], "an invitation prints without its secret")

	require.Equal(t, "builder-01", h.Name)
	require.True(t, h.Isolated)
	require.False(t, h.Enrolled)
	require.Equal(t, int64(1), h.Version)
	require.Equal(t, fleet.Host{ID: h.ID, Name: "builder-01", MaxRunners: 4, Cordoned: true, Labels: labels}, w.fleet.told(h.ID))
	require.Equal(t, h, w.host("builder-01"))
	require.Equal(t, h, w.host(h.ID))

	again := w.reopen()
	require.Equal(t, h, again.host("builder-01"), "it survives a restart")
	require.Equal(t, "builder-01", again.fleet.told(h.ID).Name, "and the new fleet is told of it")
}

func TestAddRefuses(t *testing.T) {
	w := newWorld(t)
	w.add("a")
	for name, spec := range map[string]HostSpec{
		"no name": {}, "negative cap": {Name: "b", MaxRunners: -1}, "cap too high": {Name: "b", MaxRunners: form.MaxRunners + 1}, "bad label": {Name: "b", Labels: map[string]string{"": ""}},
		"negative life": {Name: "b", TTL: -1}, "long life": {Name: "b", TTL: form.MaxEnrolmentTTL + 1}, "short life": {Name: "b", TTL: 1},
	} {
		_, _, err := w.Add(t.Context(), spec)
		var invalid *queue.InvalidError
		require.ErrorAs(t, err, &invalid, name)
	}
	_, _, err := w.Add(t.Context(), HostSpec{Name: "a"})
	require.ErrorIs(t, err, ErrNameTaken)
	list, _, err := w.Hosts(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestNobodyIsInvitedWithoutAPublicURL(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.PublicURL = "" })
	_, _, err := w.Add(t.Context(), HostSpec{Name: "a"})
	require.ErrorIs(t, err, ErrNoPublicURL)
	require.ErrorContains(t, err, "--public-url", "the error says what to do")
	_, err = w.Host(t.Context(), "a")
	require.ErrorIs(t, err, ErrNotFound, "nothing is left behind")
	_, _, err = w.Reenrol(t.Context(), "a", ReenrolSpec{})
	require.ErrorIs(t, err, ErrNoPublicURL)
}

func TestPublicURL(t *testing.T) {
	_, err := New(t.Context(), Config{PublicURL: "http://ci.example.com"})
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "PublicURL")
	w := newWorld(t, func(c *Config) { c.PublicURL = "http://[::1]:8080/" })
	_, i := w.add("a")
	require.Equal(t, "curl -fsSL 'http://[::1]:8080/install/"+i.Token.Reveal()+".sh' | sudo bash", i.Line)
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t)
	for field, config := range map[string]Config{
		"Store": {}, "EnrolmentTTL": {Store: w.store, EnrolmentTTL: -1}, "Pace": {Store: w.store, Pace: -1},
		"SightingInterval": {Store: w.store, SightingInterval: -1}, "UpdateTimeout": {Store: w.store, UpdateTimeout: -1},
	} {
		_, err := New(t.Context(), config)
		require.ErrorIs(t, err, ErrConfig)
		require.ErrorContains(t, err, field)
	}
	_, err := New(t.Context(), Config{Store: w.store, EnrolmentTTL: 8 * 24 * time.Hour})
	require.ErrorContains(t, err, "EnrolmentTTL")
}

func TestHostsAreListedInPartsAndBySelector(t *testing.T) {
	w := newWorld(t)
	for n := range 25 {
		w.add(fmt.Sprintf("h-%02d", n), func(s *HostSpec) {
			s.Labels = map[string]string{"parity": []string{"even", "odd"}[n%2], "all": ""}
		})
	}
	collect := func(filter Filter) (names []string) {
		for {
			list, next, err := w.Hosts(t.Context(), filter)
			require.NoError(t, err)
			require.LessOrEqual(t, len(list), 4)
			for _, h := range list {
				names = append(names, h.Name)
			}
			if filter.Cursor = next; next == "" {
				return names
			}
		}
	}
	all := collect(Filter{Limit: 4})
	require.Len(t, all, 25)
	require.IsIncreasing(t, all)
	odd := collect(Filter{Limit: 4, Selector: map[string]string{"parity": "odd", "all": ""}})
	require.Len(t, odd, 12)
	require.Equal(t, "h-01", odd[0])
	require.Empty(t, collect(Filter{Limit: 4, Selector: map[string]string{"parity": "odd", "all": "x"}}))
	require.Empty(t, collect(Filter{Limit: 4, Selector: map[string]string{"none": ""}}))
	_, _, err := w.Hosts(t.Context(), Filter{Selector: map[string]string{"A": "b"}})
	require.ErrorIs(t, err, queue.ErrInvalid)
	list, next, err := w.Enrolments(t.Context(), Page{Limit: 20})
	require.NoError(t, err)
	require.Len(t, list, 20)
	rest, next, err := w.Enrolments(t.Context(), Page{Limit: 20, Cursor: next})
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, rest, 5)
	require.Equal(t, "h-24", rest[4].HostName)
}

func TestEdit(t *testing.T) {
	w := newWorld(t)
	h, _ := w.add("a", func(s *HostSpec) { s.Labels = map[string]string{"k": "v"} })
	w.add("taken")
	name, most, yes, no := "b", 7, true, false
	edited, err := w.Edit(t.Context(), "a", h.Version, Change{Name: &name, MaxRunners: &most, Cordoned: &yes})
	require.NoError(t, err)
	require.Equal(t, h.Version+1, edited.Version)
	require.Equal(t, map[string]string{"k": "v"}, edited.Labels, "what is not named stays")
	require.Equal(t, fleet.Host{ID: h.ID, Name: "b", MaxRunners: 7, Cordoned: true, Labels: edited.Labels}, w.fleet.told(h.ID))
	_, err = w.Edit(t.Context(), "b", h.Version, Change{Cordoned: &no})
	require.ErrorIs(t, err, ErrStale, "a lost update is refused")
	require.True(t, w.host("b").Cordoned)
	_, err = w.Edit(t.Context(), "a", 0, Change{})
	require.ErrorIs(t, err, ErrNotFound, "the old name is nobody's")
	for _, bad := range []string{"taken", "B"} {
		_, err = w.Edit(t.Context(), h.ID, 0, Change{Name: &bad})
		require.Error(t, err)
	}
	less := -1
	_, err = w.Edit(t.Context(), "b", 0, Change{MaxRunners: &less})
	require.ErrorIs(t, err, queue.ErrInvalid)
	edited, err = w.Edit(t.Context(), "b", 0, Change{Name: &name, Labels: map[string]string{}, Cordoned: &no})
	require.NoError(t, err, "its own name is not taken")
	require.Empty(t, edited.Labels)
	require.False(t, edited.Cordoned)
	w.add("a")
	require.NotEqual(t, h.ID, w.host("a").ID, "a new host under an old name has a new id")
}

// The fleet ends with what the database has, however many edit at a time.
func TestEditsReachTheFleetInTheirOrder(t *testing.T) {
	w := newWorld(t)
	h, _ := w.add("a")
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			most := n + 1
			_, err := w.Edit(t.Context(), "a", 0, Change{MaxRunners: &most})
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.Equal(t, w.host("a").MaxRunners, w.fleet.told(h.ID).MaxRunners)
	require.Equal(t, int64(41), w.host("a").Version)
}

// One edit is slow to reach the fleet, and the next must not be overtaken by it.
func TestASlowFleetEndsWithTheNewest(t *testing.T) {
	w := newWorld(t)
	h, _ := w.add("a")
	slow, entered, release := 1, make(chan struct{}), make(chan struct{})
	w.fleet.setting = func(set fleet.Host) {
		if set.MaxRunners == slow {
			close(entered)
			<-release
		}
	}
	edit := func(most int) (done chan struct{}) {
		done = make(chan struct{})
		go func() {
			defer close(done)
			_, err := w.Edit(t.Context(), "a", 0, Change{MaxRunners: &most})
			require.NoError(t, err)
		}()
		return done
	}
	first := edit(slow)
	<-entered
	second := edit(2)
	select {
	case <-second:
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	<-first
	<-second
	require.Equal(t, 2, w.fleet.told(h.ID).MaxRunners)
}

func TestCordon(t *testing.T) {
	w := newWorld(t)
	h, _ := w.add("a")
	done, err := w.Cordon(t.Context(), "a")
	require.NoError(t, err)
	require.True(t, done.Cordoned)
	require.True(t, w.fleet.told(h.ID).Cordoned)
	done, err = w.Uncordon(t.Context(), "a")
	require.NoError(t, err)
	require.False(t, done.Cordoned)
	require.False(t, w.fleet.told(h.ID).Cordoned)
	_, err = w.Cordon(t.Context(), "nobody")
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, []string{"host-added host/a", "host-cordoned host/a", "host-uncordoned host/a"}, w.told())
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	h, _ := w.add("a")
	for _, nameOrID := range []string{"a", h.ID} {
		id, err := w.Resolve(t.Context(), nameOrID)
		require.NoError(t, err)
		require.Equal(t, h.ID, id)
	}
	name, err := w.Name(t.Context(), h.ID)
	require.NoError(t, err)
	require.Equal(t, "a", name)
	for _, nobody := range []string{"", "b", newID(), "' OR 1=1 --"} {
		_, err = w.Resolve(t.Context(), nobody)
		require.ErrorIs(t, err, ErrNotFound)
	}
}
