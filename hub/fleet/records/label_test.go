package records_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/fleet/records"
)

func TestTheShareComesBack(t *testing.T) {
	for _, s := range []placement.Share{{}, {CPU: 0.5}, {Memory: 1 << 40}, {CPU: 2, Memory: 3, GPUs: []string{"GPU-1", "GPU-2"}}} {
		labels := map[string]string{"template": "small"}
		sent := records.Stamp(labels, s)
		require.Equal(t, map[string]string{"template": "small"}, labels, "nobody changes the caller's")
		require.Equal(t, s.Zero(), maps.Equal(labels, sent))
		require.Equal(t, s, records.Unstamp(sent))
		require.Equal(t, labels, sent, "the rest comes back as it was")
	}
	require.Equal(t, placement.Share{CPU: 1}, records.Unstamp(records.Stamp(nil, placement.Share{CPU: 1})))
}

// What an agent invents takes up nothing.
func TestAShareThatMakesNoSense(t *testing.T) {
	for _, text := range []string{"", "x", `{"cpu":-1}`, `{"memory":-1}`, `{"gpus":["a b"]}`, `{"gpus":[""]}`, `{"cpu":"1"}`} {
		labels := map[string]string{records.LabelShare: text}
		require.True(t, records.Unstamp(labels).Zero(), text)
		require.Empty(t, labels, text)
	}
}

func TestSeals(t *testing.T) {
	key, labels := records.Sealer("key"), map[string]string{"template": "small", "l": "\n"}
	ours := func(k records.Sealer, host, id string, change func(map[string]string)) bool {
		sent := key.Seal("a", "r", labels)
		require.Len(t, labels, 2, "nobody changes the caller's")
		change(sent)
		is := k.Unseal(host, id, sent)
		require.NotContains(t, sent, records.LabelSeal)
		return is
	}
	as := func(map[string]string) {}
	require.True(t, ours(key, "a", "r", as))
	require.False(t, ours(records.Sealer("other"), "a", "r", as))
	require.False(t, ours(key, "b", "r", as), "another host's")
	require.False(t, ours(key, "a", "s", as), "another runner's")
	require.False(t, ours(key, "a", "r", func(l map[string]string) { l["template"] = "large" }))
	require.False(t, ours(key, "a", "r", func(l map[string]string) { l["more"] = "" }))
	require.False(t, ours(key, "a", "r", func(l map[string]string) { delete(l, records.LabelSeal) }))
	require.False(t, ours(key, "a", "r", func(l map[string]string) { l[records.LabelSeal] = "" }))
	require.True(t, key.Unseal("a", "r", key.Seal("a", "r", nil)), "a runner without labels")

	var none records.Sealer
	require.Equal(t, labels, none.Seal("a", "r", labels))
	require.True(t, none.Unseal("a", "r", map[string]string{}), "without a key every runner is believed")
}
