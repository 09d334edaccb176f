package template_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/template"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		name       string
		have, want []string
	}{
		{"trimmed, lower case, unique, sorted", []string{" B ", "a", "b", "A\t"}, []string{"a", "b"}},
		{"every character", []string{"a.b_c-d9", "0"}, []string{"0", "a.b_c-d9"}},
		{"the longest", []string{strings.Repeat("a", 128)}, []string{strings.Repeat("a", 128)}},
		{"in byte order", []string{"a_", "a-", "a.", "a0", "aa", "a"}, []string{"a", "a-", "a.", "a0", "a_", "aa"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := template.Canonical(c.have)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	many := make([]string, template.MaxLabels+1)
	for i := range many {
		many[i] = string(rune('a' + i))
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   string
	}{
		{"none", nil, "at least one"},
		{"an empty one", []string{"a", ""}, `label "" has 0 characters`},
		{"a blank one", []string{" \t "}, `label "" has 0 characters`},
		{"a long one", []string{strings.Repeat("a", 129)}, "has 129 characters: 1 to 128 are allowed"},
		{"a space", []string{"a b"}, `label "a b"`},
		{"a comma", []string{"a,b"}, `label "a,b"`},
		{"a first character that is not alphanumeric", []string{".a"}, "the first a letter or a digit"},
		{"a letter that is not ASCII", []string{"é"}, `label "é"`},
		{"too many", many, "21 labels: at most 20 are allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := template.Canonical(c.labels)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestCanonicalCountsAfterMerging(t *testing.T) {
	labels := slices.Repeat([]string{"a", "B"}, 20)
	got, err := template.Canonical(labels)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, got)
}

func TestCanonicalKeepsItsInput(t *testing.T) {
	labels := []string{"B", "a"}
	_, err := template.Canonical(labels)
	require.NoError(t, err)
	require.Equal(t, []string{"B", "a"}, labels)
}

// label is a canonical label of a small alphabet, so that sets overlap.
func label() *rapid.Generator[string] { return rapid.StringMatching(`[a-c][ab._-]{0,2}`) }

func TestCanonicalProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(label(), 1, 20).Draw(t, "labels")
		got, err := template.Canonical(labels)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("not sorted and unique: %q", got)
		}
		again, err := template.Canonical(got)
		if err != nil || !slices.Equal(again, got) {
			t.Fatalf("not the same the second time: %q, %v", again, err)
		}
		disguised := rapid.Permutation(labels).Draw(t, "order")
		for i := range disguised {
			disguised[i] = " " + strings.ToUpper(disguised[i]) + "\n"
		}
		same, err := template.Canonical(append(disguised, labels[0]))
		if err != nil || !slices.Equal(same, got) {
			t.Fatalf("%q became %q, %v", disguised, same, err)
		}
		for _, l := range labels {
			if !slices.Contains(got, l) {
				t.Fatalf("%q is lost", l)
			}
		}
	})
}

func TestCanonicalOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOf(rapid.String()).Draw(t, "labels")
		got, err := template.Canonical(labels)
		if err != nil {
			return
		}
		for _, l := range got {
			if len(l) < 1 || len(l) > template.MaxLabelLength || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
				t.Fatalf("label %q got through", l)
			}
		}
		if len(got) < 1 || len(got) > template.MaxLabels {
			t.Fatalf("%d labels got through", len(got))
		}
	})
}

func TestCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := set(t, "have")
		want := set(t, "want")
		naive := true
		for _, w := range want {
			naive = naive && slices.Contains(have, w)
		}
		if got := template.Covers(have, want); got != naive {
			t.Fatalf("Covers(%q, %q) = %t", have, want, got)
		}
		if !template.Covers(have, have) || !template.Covers(have, nil) {
			t.Fatalf("%q does not cover itself or nothing", have)
		}
	})
}

// set is a canonical set of labels, maybe empty.
func set(t *rapid.T, name string) []string {
	labels := rapid.SliceOfNDistinct(label(), 0, 6, rapid.ID[string]).Draw(t, name)
	slices.Sort(labels)
	return labels
}
