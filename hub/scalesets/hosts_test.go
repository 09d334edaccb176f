package scalesets

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/template/file"
)

// The rules about hosts hold with the hub's own registry of them.
func TestWithTheRealHosts(t *testing.T) {
	var registry *hosts.Registry
	w := newWorld(t, func(c *Config) {
		var err error
		registry, err = hosts.New(t.Context(), hosts.Config{Store: c.Store, PublicURL: "https://ci.example.com"})
		require.NoError(t, err)
		c.Hosts = registry
	})
	ctx := t.Context()
	add := func(name string) string {
		h, _, err := registry.Add(ctx, hosts.HostSpec{Name: name})
		require.NoError(t, err)
		return h.ID
	}
	first, second := add("builder-1"), add("builder-2")
	w.create("small", `, "hosts": ["builder-1", "`+second+`"]`)
	require.Equal(t, []string{"builder-1", "builder-2"}, w.document("small").Hosts)
	require.NoError(t, registry.Remove(ctx, "builder-1", 0, true))
	fresh := add("builder-1")
	require.NotEqual(t, first, fresh)
	require.Contains(t, w.get("small").Hosts, first)
	require.NotContains(t, w.get("small").Hosts, fresh)
	require.Equal(t, []string{first, "builder-2"}, w.document("small").Hosts)
	require.Empty(t, w.apply(w.export(), ApplyOptions{Prune: true}).Changes)
	_, err := w.Create(ctx, "other", small(t, `, "hosts": ["none"]`))
	require.ErrorIs(t, err, ErrInvalid)
}

// Labels in a selector are labels that a host may have, and no others.
func TestSelectorsHaveTheLabelsOfHosts(t *testing.T) {
	for _, c := range [][2]string{
		{"pool", "large"}, {"a", ""}, {"example.com/pool", "A_b.c-1"}, {"Pool", "x"}, {"-a", "x"}, {"a-", "x"}, {"a b", "x"}, {"", "x"},
		{"pool", "a b"}, {"pool", "é"}, {"pool", "a/b"},
		{"a23456789012345678901234567890123456789012345678901234567890123", "a23456789012345678901234567890123456789012345678901234567890123"},
		{"a234567890123456789012345678901234567890123456789012345678901234", "x"}, {"a", "a234567890123456789012345678901234567890123456789012345678901234"},
	} {
		labels := map[string]string{c[0]: c[1]}
		d := Document{Labels: []string{"x"}, CPU: 1, Memory: 1 << 30, Max: 1, Selector: labels}
		_, err := d.parse("small", file.Options{})
		require.Equal(t, form.Labels("labels", labels) == nil, err == nil, "%q: %v", c, err)
	}
}
