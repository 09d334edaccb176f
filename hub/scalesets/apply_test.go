package scalesets

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/hub/queue"
)

const two = `version: 1
scale_sets:
  small:
    labels: [linux, small]
    image: ghcr.io/acme/runner:1
    cpu: 2
    memory: 4GiB
    max: 10
    hosts: [builder-1]
  large:
    labels: [linux, large]
    cpu: 8
    memory: 32g
    max: 2
    selector: {pool: large}
    runtime: isolated
`

func TestApply(t *testing.T) {
	w := newWorld(t)
	first := w.apply(two, ApplyOptions{DryRun: true})
	require.Empty(t, w.names(), "a dry run changes nothing")
	require.True(t, first.DryRun)
	require.Equal(t, `create large
  labels: unset -> ["large","linux"]
  cpu: unset -> 8
  memory: unset -> "32GiB"
  max: unset -> 2
  selector: unset -> {"pool":"large"}
  runtime: unset -> "isolated"
create small
  labels: unset -> ["linux","small"]
  image: unset -> "ghcr.io/acme/runner:1"
  cpu: unset -> 2
  memory: unset -> "4GiB"
  max: unset -> 10
  hosts: unset -> ["builder-1"]
`, first.String())
	require.Empty(t, w.told())
	done := w.apply(two, ApplyOptions{Revision: first.Revision})
	require.Equal(t, first.Changes, done.Changes)
	require.Equal(t, []string{"large", "small"}, w.names())
	require.Len(t, w.told(), 2)

	version := w.get("large").Version
	again := w.apply(two, ApplyOptions{Prune: true})
	require.Empty(t, again.Changes)
	require.Equal(t, []string{"large", "small"}, again.Unchanged)
	require.Equal(t, version, w.get("large").Version)

	w.create("other", "")
	edited := strings.NewReplacer("max: 10", "max: 12", "    image: ghcr.io/acme/runner:1\n", "", "large", "huge").Replace(two)
	diff := w.apply(edited, ApplyOptions{DryRun: true})
	require.Equal(t, []Action{ActionCreate, ActionEdit}, actions(diff))
	require.Contains(t, diff.String(), "edit small\n  image: \"ghcr.io/acme/runner:1\" -> unset\n  max: 10 -> 12\n")
	diff = w.apply(edited, ApplyOptions{Prune: true})
	require.Equal(t, []Action{ActionCreate, ActionDelete, ActionDelete, ActionEdit}, actions(diff), "by name: %s", diff)
	require.Equal(t, []string{"huge", "small"}, w.names())
	require.Equal(t, 12, w.get("small").MaxConcurrency)

	require.Len(t, w.apply("{version: 1, scale_sets: {}}", ApplyOptions{}).Changes, 0, "without prune nothing is deleted")
	w.apply("{version: 1, scale_sets: {}}", ApplyOptions{Prune: true})
	require.Empty(t, w.names())
}

func actions(d Diff) (out []Action) {
	for _, c := range d.Changes {
		out = append(out, c.Action)
	}
	return out
}

func TestApplyTellsAllThatIsWrong(t *testing.T) {
	w := newWorld(t)
	_, err := w.SetCredential(t.Context(), "ghcr", CredentialSpec{Registry: "ghcr.io", Username: "u", Password: "p"})
	require.NoError(t, err)
	apply := func(yaml string) error {
		_, err := w.Apply(t.Context(), []byte(yaml), ApplyOptions{Name: "f.yaml"})
		require.ErrorIs(t, err, ErrInvalid)
		var first *queue.InvalidError
		require.ErrorAs(t, err, &first)
		return err
	}
	err = apply(strings.NewReplacer("max: 10", "maxx: 10", "cpu: 8", "cpu: none").Replace(two))
	require.EqualError(t, err, `f.yaml:8:5: scale_sets.small: unknown field "maxx"; did you mean max?`+"\n"+
		`f.yaml:12:10: scale_sets.large.cpu: must be a number, this is text ("none")`)
	err = apply(strings.NewReplacer("hosts: [builder-1]", "hosts: [builder-1, builder-7]\n    credential: ghrc",
		"    runtime: isolated", "    credential: ghcr\n    hosts: [x]").Replace(two))
	require.EqualError(t, err, `f.yaml:9:24: scale_sets.small.hosts.builder-7: there is no host "builder-7": add it first (slipway hosts add)`+"\n"+
		`f.yaml:10:17: scale_sets.small.credential: there is no registry credential "ghrc"; did you mean ghcr?`+"\n"+
		`f.yaml:18:13: scale_sets.large.hosts.x: there is no host "x": add it first (slipway hosts add)`+"\n"+
		`f.yaml:17:17: scale_sets.large.credential: ghcr is for ghcr.io, and the image "" is not from there`)
	require.Empty(t, w.names(), "what is wrong changes nothing")
}

func TestApplyIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	p, err := w.plan(t.Context(), []byte(two), ApplyOptions{})
	require.NoError(t, err)
	// The last of the plan's deeds fails in the transaction.
	broken := p.sets["small"]
	broken.Credential = "none"
	p.sets["small"] = broken
	require.ErrorIs(t, w.commit(t.Context(), p), ErrInvalid)
	require.Empty(t, w.names())
	require.Empty(t, w.told(), "what did not happen is not told")
	p, err = w.plan(t.Context(), []byte(two), ApplyOptions{})
	require.NoError(t, err)
	require.NoError(t, w.commit(t.Context(), p))
	require.Len(t, w.names(), 2)
}

func TestApplySeesAConcurrentEdit(t *testing.T) {
	edits := map[string]func(w *world){
		"created": func(w *world) { w.create("new", "") },
		"edited": func(w *world) {
			_, err := w.Put(w.t.Context(), "other", 0, small(w.t, `, "cpu": 4`))
			require.NoError(w.t, err)
		},
		"deleted": func(w *world) { require.NoError(w.t, w.Delete(w.t.Context(), "other", 0)) },
		"a credential set": func(w *world) {
			_, err := w.SetCredential(w.t.Context(), "c", CredentialSpec{Registry: "x.io", Username: "u", Password: "p"})
			require.NoError(w.t, err)
		},
		"a credential deleted": func(w *world) { require.NoError(w.t, w.DeleteCredential(w.t.Context(), "first")) },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create("other", "")
			_, err := w.SetCredential(t.Context(), "first", CredentialSpec{Registry: "x.io", Username: "u", Password: "p"})
			require.NoError(t, err)
			p, err := w.plan(t.Context(), []byte(two), ApplyOptions{})
			require.NoError(t, err)
			edit(w)
			before := w.export()
			require.ErrorIs(t, w.commit(t.Context(), p), ErrStale)
			_, err = w.Apply(t.Context(), []byte(two), ApplyOptions{Revision: p.diff.Revision})
			require.ErrorIs(t, err, ErrStale, "somebody agreed to another diff")
			require.Equal(t, before, w.export())
		})
	}
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, "version: 1\nscale_sets: {}\n", w.export())
	w.apply(two, ApplyOptions{})
	require.Equal(t, `version: 1
scale_sets:
  large:
    labels: [large, linux]
    cpu: 8
    memory: 32GiB
    max: 2
    selector:
      pool: large
    runtime: isolated
  small:
    labels: [linux, small]
    image: ghcr.io/acme/runner:1
    cpu: 2
    memory: 4GiB
    max: 10
    hosts:
      - builder-1
`, w.export())

	// A removed host stays, by its id, and what is exported can be applied.
	delete(w.hosts.names, "id-1")
	require.Contains(t, w.export(), "- id-1\n")
	require.Empty(t, w.apply(w.export(), ApplyOptions{Prune: true}).Changes)
}

// Applying what was exported changes nothing, and makes the same elsewhere.
func TestExportIsAFixedPoint(t *testing.T) {
	from, to := newWorld(t), newWorld(t)
	for _, w := range []*world{from, to} {
		w.Registry.opts.AllowedBinds = []string{"/srv"}
		_, err := w.SetCredential(t.Context(), "ghcr", CredentialSpec{Registry: "ghcr.io", Username: "u", Password: "p"})
		require.NoError(t, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var sets []ScaleSet
		for i := range rapid.IntRange(0, 3).Draw(t, "scale sets") {
			name := fmt.Sprintf("%s-%d", rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,9}`).Draw(t, "name"), i)
			_, s, err := from.parse(from.t.Context(), name, anyDocument(t), nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			sets = append(sets, s)
		}
		from.replaceAll(sets)
		text := from.export()
		if d := from.apply(text, ApplyOptions{Prune: true}); len(d.Changes) > 0 {
			t.Fatalf("applying the export changes:\n%s\n%s", d, text)
		}
		to.apply(text, ApplyOptions{Prune: true})
		if got := to.export(); got != text {
			t.Fatalf("elsewhere it becomes\n%s\nfrom\n%s", got, text)
		}
		a, err := from.Templates(from.t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		b, err := to.Templates(to.t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%#v", a) != fmt.Sprintf("%#v", b) {
			t.Fatalf("elsewhere the templates are\n%#v\nfrom\n%#v", b, a)
		}
	})
}

// replaceAll makes these all the scale sets, in one write.
func (w *world) replaceAll(sets []ScaleSet) {
	require.NoError(w.t, w.write(w.t.Context(), func(t *tx) error {
		if _, err := t.Exec(`DELETE FROM scale_sets`); err != nil {
			return err
		}
		for _, s := range sets {
			if _, err := t.put(s); err != nil {
				return err
			}
		}
		return nil
	}))
}

// anyDocument is a good one.
func anyDocument(t *rapid.T) Document {
	// maybe draws a value or leaves the field out.
	has := func(field string) bool { return rapid.Bool().Draw(t, "has "+field) }
	anyText := rapid.StringN(0, 40, 200).Filter(func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsRune(s, 0) && !strings.Contains(s, "${{")
	})
	odd := rapid.SampledFrom([]string{"", " ", "1", "010", "0o7", "1e3", ".inf", "true", "yes", "null", "~", "<<", "2020-01-01", "- a", "a: b", "#x", "*a", "&a", "!!x y", "{", "[", "\n", " a\n b\n\n", "a\n", "\n\na", "\t", "\ta\n\tb", "'", `"`, `\`, "%", "@", "`", "é\u0085\u2028\ufeff", "\x01\x7f", "|", ">", "? a", "-", "---\na", "...", "=", "a # b", "a\r\nb"})
	text := rapid.OneOf(anyText, odd)
	word := rapid.StringMatching(`[a-zA-Z0-9_./:@%-]{1,12}`)
	nonempty := text.Filter(func(s string) bool { return s != "" })
	size := rapid.OneOf(rapid.Int64Range(1, 1<<53), rapid.Map(rapid.Int64Range(1, 1<<20), func(n int64) int64 { return n << 20 }))
	seconds := rapid.Int64Range(1, 1e6)
	d := Document{
		Labels: rapid.SliceOfN(rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,8}`), 1, 4).Draw(t, "labels"),
		CPU:    rapid.Float64Range(0.0001, 1e6).Draw(t, "cpu"),
		Memory: Size(size.Draw(t, "memory")),
		Max:    rapid.IntRange(1, 100000).Draw(t, "max"),
	}
	if has("image") {
		d.Image = "ghcr.io/" + word.Draw(t, "image")
		d.Credential = rapid.SampledFrom([]string{"", "ghcr"}).Draw(t, "credential")
	}
	d.Hosts = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"builder-1", "builder-2", "arm"}), rapid.ID).Draw(t, "hosts")
	d.Selector = rapid.MapOfN(rapid.StringMatching(`[a-z0-9]([a-z0-9./_-]{0,5}[a-z0-9])?`), rapid.StringMatching(`[A-Za-z0-9._-]{0,6}`), 0, 3).Draw(t, "selector")
	d.PerHostMax = rapid.IntRange(0, 9).Draw(t, "per_host_max")
	d.Runtime = rapid.SampledFrom([]string{"", "isolated", "shared"}).Draw(t, "runtime")
	d.ControlPlane = rapid.SampledFrom([]string{"", "queue", "shipfox"}).Draw(t, "control_plane")
	d.MinIdle = rapid.IntRange(0, d.Max).Draw(t, "min_idle")
	d.TargetConcurrency = rapid.IntRange(0, d.Max).Draw(t, "target_concurrency")
	d.PullPolicy = rapid.SampledFrom([]string{"", "always", "never", "if-not-present", "24h", "90s", "1.5h"}).Draw(t, "pull_policy")
	if has("sizes") {
		d.MinDiskFree, d.ShmSize = Size(size.Draw(t, "min_disk_free")), Size(size.Draw(t, "shm_size"))
		d.Cost = rapid.Float64Range(1e-9, 1e9).Draw(t, "cost")
	}
	if d.InjectRunner = has("inject_runner"); !d.InjectRunner {
		d.Entrypoint = words(t, nonempty, text, "entrypoint")
		d.Command = words(t, nonempty, text, "command")
	}
	d.Env = rapid.MapOfN(rapid.OneOf(rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_.]{0,9}`), rapid.SampledFrom([]string{"true", "null", "1", "<<", "~", "é", "-", "1e3"})), text, 0, 4).Draw(t, "env")
	if has("user") {
		d.User = rapid.SampledFrom([]string{"1000", "1000:1000", "root", "0", "0x10"}).Draw(t, "user")
	}
	d.GPUs = GPUs(rapid.SampledFrom([]int{0, -1, 1, 8}).Draw(t, "gpus"))
	d.PidsLimit = rapid.SampledFrom([]int64{0, -1, 1, 4096}).Draw(t, "pids_limit")
	if has("mounts") {
		d.Mounts = []Mount{{Volume: "cache", Target: "/c"}, {Bind: "/srv/x", Target: "/" + word.Draw(t, "target") + "/t", ReadOnly: true}}
		d.Tmpfs = map[string]string{"/tmp": rapid.SampledFrom([]string{"", "size=64m"}).Draw(t, "tmpfs")}
	}
	if has("isolation") {
		d.CapAdd, d.CapDrop = []string{"NET_ADMIN"}, []string{"ALL"}
		d.Privileged, d.ReadOnly, d.NoNewPrivileges = true, true, new(bool)
		d.Network = word.Draw(t, "network")
	}
	if has("life") {
		d.RegistrationDeadline, d.MaxLifetime = Duration(seconds.Draw(t, "deadline")*1e9), Duration(seconds.Draw(t, "lifetime")*1e9+5)
		d.OS, d.Arch = "linux", rapid.SampledFrom([]string{"amd64", "386"}).Draw(t, "arch")
	}
	return d
}

// words are an entrypoint or a command: the first one is not empty.
func words(t *rapid.T, first, rest *rapid.Generator[string], name string) []string {
	if !rapid.Bool().Draw(t, "has "+name) {
		return nil
	}
	return slices.Concat([]string{first.Draw(t, name)}, rapid.SliceOfN(rest, 0, 3).Draw(t, name))
}
