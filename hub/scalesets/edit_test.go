package scalesets

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
)

func TestCreateEditDelete(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	before := time.Now().Add(-time.Second)
	s := w.create("small", `, "hosts": ["builder-2", "builder-1", "id-1"], "selector": {"pool": "large"}, "per_host_max": 2,
		"runtime": "isolated", "control_plane": "shipfox", "min_disk_free": "10GiB", "min_idle": 1, "pull_policy": "24h"`)
	require.Equal(t, template.Template{Key: "small", Labels: []string{"linux"}, CPU: 1, Memory: 1 << 30, MaxConcurrency: 3,
		MinIdle: 1, PullPolicy: "if-older", PullMaxAge: 24 * time.Hour}, s.Template)
	require.Equal(t, []string{"id-1", "id-2"}, s.Hosts, "hosts are stored by id, each once")
	require.Equal(t, map[string]string{"pool": "large"}, s.Selector)
	require.Equal(t, 2, s.PerHostMax)
	require.True(t, s.Isolated)
	require.Equal(t, ControlPlaneShipfox, s.ControlPlane)
	require.EqualValues(t, 10<<30, s.MinDiskFree)
	require.WithinRange(t, s.CreatedAt, before, time.Now())
	require.Equal(t, s, w.get("small"))
	require.Equal(t, []string{"scale-set-created scale-set/small: created with max 3"}, w.told())

	_, err := w.Create(ctx, "small", small(t, ""))
	require.ErrorIs(t, err, ErrExists)
	_, err = w.Put(ctx, "none", 0, small(t, ""))
	require.ErrorIs(t, err, ErrNotFound)
	_, err = w.Get(ctx, "none")
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, w.Delete(ctx, "none", 0), ErrNotFound)

	edited, err := w.Put(ctx, "small", s.Version, small(t, `, "image": "ghcr.io/acme/runner:1"`))
	require.NoError(t, err)
	require.Greater(t, edited.Version, s.Version)
	require.Empty(t, edited.Hosts, "what a document leaves out gets its default")
	require.Equal(t, ControlPlaneQueue, edited.ControlPlane)
	require.Equal(t, s.CreatedAt, edited.CreatedAt)
	require.Equal(t, []string{"scale-set-edited scale-set/small: changed image, hosts, selector, per_host_max, min_disk_free, runtime, control_plane, min_idle, pull_policy"}, w.told())

	_, err = w.Put(ctx, "small", s.Version, small(t, ""))
	require.ErrorIs(t, err, ErrStale, "a lost update")
	require.ErrorIs(t, w.Delete(ctx, "small", s.Version), ErrStale)
	require.Equal(t, edited, w.get("small"), "what is refused changes nothing")
	same, err := w.Put(ctx, "small", 0, small(t, `, "image": "ghcr.io/acme/runner:1"`))
	require.NoError(t, err)
	require.Equal(t, edited, same, "what changes nothing is no edit")
	require.Empty(t, w.told())

	require.NoError(t, w.Delete(ctx, "small", edited.Version))
	require.Equal(t, []string{"scale-set-deleted scale-set/small: deleted: its runners finish"}, w.told())
	require.Empty(t, w.names())
	again := w.create("small", "")
	require.Greater(t, again.Version, edited.Version, "a version never comes twice, not even after a deletion")
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "a-1", "0", strings.Repeat("x", 63)} {
		w.create(name, "")
	}
	for _, name := range []string{"", "-a", "a-", "A", "a_b", "a b", "a/b", "é", strings.Repeat("x", 64), "a\n"} {
		_, err := w.Create(t.Context(), name, small(t, ""))
		require.ErrorIs(t, err, ErrInvalid, "%q", name)
		var wrong *queue.InvalidError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, "name", wrong.Field)
	}
}

func TestNoEditIsLost(t *testing.T) {
	w := newWorld(t)
	w.create("small", "")
	var wg sync.WaitGroup
	const editors, edits = 4, 5
	for range editors {
		wg.Go(func() {
			for done := 0; done < edits; {
				s, err := w.Get(t.Context(), "small")
				if !assert.NoError(t, err) {
					return
				}
				d := documentOf(s, nil)
				d.Max++
				switch _, err := w.Put(t.Context(), "small", s.Version, d); {
				case err == nil:
					done++
				case !assert.ErrorIs(t, err, ErrStale):
					return
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 3+editors*edits, w.get("small").MaxConcurrency)
}

func TestThereAreAtMostSoMany(t *testing.T) {
	w := newWorld(t)
	sets := make([]ScaleSet, file.MaxScaleSets)
	one := w.create("one", "")
	for i := range sets {
		sets[i] = one
		sets[i].Key = fmt.Sprintf("s-%d", i)
	}
	w.replaceAll(sets)
	_, err := w.Create(t.Context(), "more", small(t, ""))
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "at most 1000 are allowed")
	_, err = w.Apply(t.Context(), []byte(two), ApplyOptions{})
	require.ErrorIs(t, err, ErrInvalid)
	require.Len(t, w.names(), file.MaxScaleSets)
	require.Empty(t, w.apply(w.export(), ApplyOptions{Prune: true}).Changes, "what the hub has can be applied")
	w.apply(two, ApplyOptions{Prune: true})
	require.Equal(t, []string{"large", "small"}, w.names())
}

func TestList(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"c", "a", "d", "b"} {
		w.create(name, map[bool]string{true: `, "control_plane": "shipfox"`}[name > "b"])
	}
	require.Equal(t, []string{"a", "b", "c", "d"}, w.names())
	var got []string
	f := Filter{Limit: 2}
	for pages := 1; ; pages++ {
		sets, next, err := w.List(t.Context(), f)
		require.NoError(t, err)
		for _, s := range sets {
			got = append(got, s.Key)
		}
		if f.Cursor = next; next == "" {
			require.Equal(t, 2, pages)
			break
		}
	}
	require.Equal(t, []string{"a", "b", "c", "d"}, got)
	sets, next, err := w.List(t.Context(), Filter{ControlPlane: ControlPlaneShipfox, Limit: 9})
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, sets, 2)
	require.Equal(t, "c", sets[0].Key)
}

func TestWhatIsWrongWithADocument(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AllowedBinds = []string{"/srv/cache"} })
	for _, c := range []struct{ name, more, field, want string }{
		{"an unknown host", `, "hosts": ["builder-1", "builder-9"]`, "hosts.builder-9", `there is no host "builder-9"`},
		{"an unknown id", `, "hosts": ["id-9"]`, "hosts.id-9", `there is no host "id-9"`},
		{"an unknown credential", `, "credential": "ghcr"`, "credential", `there is no registry credential "ghcr"`},
		{"a folder that is not allowed", `, "mounts": [{"bind": "/etc", "target": "/x"}]`, "mounts.bind", "not under a folder that the operator allows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.Create(t.Context(), "small", small(t, c.more))
			require.ErrorIs(t, err, ErrInvalid)
			var wrong *queue.InvalidError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, c.field, wrong.Field)
			require.Contains(t, wrong.Problem, c.want)
			var content *file.Error
			require.ErrorAs(t, err, &content)
			require.Zero(t, content.Problems[0].Line, "nobody wrote lines")
			require.True(t, strings.HasPrefix(err.Error(), "scale set small: "), err.Error())
		})
	}
	w.create("allowed", `, "mounts": [{"bind": "/srv/cache/go", "target": "/x"}]`)
	_, err := w.Put(t.Context(), "allowed", 0, small(t, `, "hosts": ["builder-9"]`))
	require.ErrorIs(t, err, ErrInvalid)
	_, err = w.Create(t.Context(), "by-hand", Document{Labels: []string{"x"}, CPU: -1, Memory: 1, Max: 1})
	require.ErrorIs(t, err, ErrInvalid, "a document that a program made is checked too")
	require.ErrorContains(t, err, "cpu: must be above 0")

	w.hosts.err = errors.New("disk on fire")
	_, err = w.Create(t.Context(), "small", small(t, `, "hosts": ["builder-1"]`))
	require.ErrorContains(t, err, "disk on fire")
	require.NotErrorIs(t, err, ErrInvalid, "a host that can't be looked up is not an unknown one")
}

func TestHostsAreMeantByID(t *testing.T) {
	w := newWorld(t)
	w.create("small", `, "hosts": ["builder-1", "builder-2"]`)

	w.hosts.names["id-2"] = "renamed"
	require.Equal(t, []string{"builder-1", "renamed"}, w.document("small").Hosts)

	// Another host gets the name of one that is removed.
	delete(w.hosts.names, "id-1")
	w.hosts.names["id-9"] = "builder-1"
	placements, err := w.Placements(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"id-1", "id-2"}, placements["small"].Hosts, "the new host inherits nothing")
	gone := w.document("small")
	require.Equal(t, []string{"id-1", "renamed"}, gone.Hosts, "a removed host is listed by its id")

	s, err := w.Put(t.Context(), "small", 0, gone)
	require.NoError(t, err, "what was listed can be put back")
	require.Equal(t, []string{"id-1", "id-2"}, s.Hosts)
	s, err = w.Put(t.Context(), "small", 0, small(t, `, "hosts": ["builder-1"]`))
	require.NoError(t, err)
	require.Equal(t, []string{"id-9"}, s.Hosts)
	_, err = w.Put(t.Context(), "small", 0, gone)
	require.ErrorIs(t, err, ErrInvalid, "once taken out, a removed host does not come back")
}

func TestTemplatesAndPlacements(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.DefaultImage = "default:1" })
	placements, err := w.Placements(t.Context())
	require.NoError(t, err)
	require.NotNil(t, placements, "nil would mean every host for every template")
	w.create("b", `, "hosts": ["arm"], "runtime": "isolated", "per_host_max": 5, "min_disk_free": 7`)
	w.create("a", `, "image": "own:1", "control_plane": "shipfox"`)
	w.create("c", `, "selector": {"pool": "x"}`)

	templates, err := w.Templates(t.Context(), ControlPlaneQueue)
	require.NoError(t, err)
	require.Len(t, templates, 2)
	require.Equal(t, "b", templates[0].Key)
	require.Equal(t, "default:1", templates[0].Image)
	require.Empty(t, w.get("b").Image, "the default is not stored: it may be another tomorrow")
	templates, err = w.Templates(t.Context(), ControlPlaneShipfox)
	require.NoError(t, err)
	require.Equal(t, []template.Template{{Key: "a", Labels: []string{"linux"}, Image: "own:1", CPU: 1, Memory: 1 << 30, MaxConcurrency: 3}}, templates)
	templates, err = w.Templates(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, templates, 3)

	placements, err = w.Placements(t.Context())
	require.NoError(t, err)
	require.Len(t, placements, 3)
	b := placements["b"]
	require.Equal(t, []string{"id-3"}, b.Hosts)
	require.Equal(t, 5, b.PerHostMax)
	require.True(t, b.Isolated)
	require.EqualValues(t, 7, b.MinDiskFree)
	require.Equal(t, map[string]string{"pool": "x"}, placements["c"].Selector)
	require.Empty(t, placements["a"].Hosts)
	require.Empty(t, placements["a"].Selector)
}

func TestChangedIsToldOnce(t *testing.T) {
	w := newWorld(t)
	select {
	case <-w.Changed():
		t.Fatal("nothing was changed yet")
	default:
	}
	w.create("a", "")
	w.create("b", "")
	_, err := w.Create(t.Context(), "b", small(t, ""))
	require.ErrorIs(t, err, ErrExists)
	<-w.Changed()
	select {
	case <-w.Changed():
		t.Fatal("told twice, or of an edit that was refused")
	default:
	}
	_, err = w.SetCredential(t.Context(), "ghcr", CredentialSpec{Registry: "ghcr.io", Username: "u", Password: "p"})
	require.NoError(t, err)
	<-w.Changed()
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*Config){
		"Store":        func(c *Config) { c.Store = nil },
		"Hosts":        func(c *Config) { c.Hosts = nil },
		"Vault":        func(c *Config) { c.Vault = nil },
		"AllowedBinds": func(c *Config) { c.AllowedBinds = []string{"relative"} },
	} {
		cfg := w.cfg
		change(&cfg)
		_, err := New(t.Context(), cfg)
		require.ErrorIs(t, err, ErrConfig)
		require.ErrorContains(t, err, name)
	}
}
