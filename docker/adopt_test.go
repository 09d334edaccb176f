package docker

import (
	"context"
	"maps"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/enginetest"
)

// foreign is the schema of another program, whose containers have no list of keys.
func foreign() Schema {
	return Schema{
		Owner: "other.owner", Runner: "other.runner", RunnerAliases: []string{"other.old_runner"}, KeysOptional: true,
		Names: map[string]string{"template": "other.template", "reservation": "other.reservation"},
	}
}

// A container of the other program's form is a runner of ours, with the labels
// that the schema names; near misses are not.
func TestAdoptedForms(t *testing.T) {
	b, err := New(Config{Owner: "me", AdoptOwners: []string{"former"}, Schema: foreign(), PlainNames: true, Host: "unix:///nonexistent"})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	id := uuid.Must(uuid.NewV7()).String()
	good := map[string]string{"other.owner": "me", "other.runner": id, "other.template": "small", "maintainer": "the image's"}
	with := func(pairs ...string) map[string]string {
		out := maps.Clone(good)
		for i := 0; i < len(pairs); i += 2 {
			if out[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
				delete(out, pairs[i])
			}
		}
		return out
	}
	at := func(name string, labels map[string]string) (seen, bool) {
		return b.recognize(container.Summary{ID: "c", Names: []string{"/" + name}, Labels: labels})
	}
	for what, labels := range map[string]map[string]string{
		"as it is":         good,
		"a former owner's": with("other.owner", "former"),
		"an older label":   with("other.runner", "", "other.old_runner", id),
	} {
		one, ok := at(id, labels)
		require.True(t, ok, what)
		require.Equal(t, id, one.runner.ID, what)
		require.Equal(t, map[string]string{"template": "small"}, one.runner.Labels, what)
	}
	for what, labels := range map[string]map[string]string{
		"another owner's":        with("other.owner", "you"),
		"no owner":               with("other.owner", ""),
		"no id":                  with("other.runner", ""),
		"another id":             with("other.runner", uuid.NewString()),
		"an id in another form":  with("other.runner", "{"+id+"}"),
		"keys without the label": with("slipway.keys", "reservation"),
	} {
		_, ok := at(id, labels)
		require.False(t, ok, what)
	}
	_, ok := at("slipway-"+id, good)
	require.False(t, ok, "the name has no prefix")

	// What we write is read back whole, by us and by a schema that knows the keys.
	labels := map[string]string{"template": "small", "reservation": "r", "max-lifetime": "1h"}
	written, err := b.config.Schema.encode("me", id, labels)
	require.NoError(t, err)
	require.NotContains(t, written, "other.old_runner")
	require.Equal(t, "r", written["other.reservation"])
	got, out, ok := b.config.Schema.decode("me", written)
	require.True(t, ok)
	require.Equal(t, id, got)
	require.Equal(t, labels, out)

	strict := foreign()
	strict.KeysOptional = false
	_, _, ok = strict.withDefaults().decode("me", good)
	require.False(t, ok, "without KeysOptional a list of keys is needed")
	double := foreign()
	double.RunnerAliases = []string{"other.owner"}
	require.ErrorContains(t, double.withDefaults().validate(), "two meanings")
}

// Runners of other owners are counted, and nothing else is.
func TestStrangers(t *testing.T) {
	engine := enginetest.Engine(t)
	owner := enginetest.Owner(t)
	schema := foreign()
	schema.Owner = "label-of-" + owner // no other test's
	b, err := New(Config{Owner: owner, Schema: schema, PlainNames: true, Network: "none", Host: engine.DaemonHost()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	put := func(owner string) {
		id := uuid.Must(uuid.NewV7()).String()
		made, err := engine.ContainerCreate(t.Context(), &container.Config{
			Image: enginetest.BusyboxImage(t), Labels: map[string]string{schema.Owner: owner, schema.Runner: id},
		}, nil, nil, nil, id)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, engine.ContainerRemove(context.WithoutCancel(t.Context()), made.ID, container.RemoveOptions{Force: true}))
		})
	}
	n, err := b.Strangers(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	put(owner)
	put("another")
	put("a third")
	n, err = b.Strangers(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	listing, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, listing.Runners, 1)
}
