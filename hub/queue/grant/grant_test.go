package grant_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/template"
)

func set(text string) []string { return strings.Split(text, ",") }

func waiting(labels string, queued int, oldest int64) grant.Waiting {
	return grant.Waiting{Labels: set(labels), Queued: queued, Oldest: oldest}
}

func slots(key, labels string, free int) grant.Slots {
	return grant.Slots{Key: key, Labels: set(labels), Free: free}
}

func TestPlan(t *testing.T) {
	active := func(w grant.Waiting, n int) grant.Waiting { w.Active = n; return w }
	granted := func(w grant.Waiting, at int64) grant.Waiting { w.LastGranted = at; return w }
	for _, test := range []struct {
		name string
		req  grant.Request
		want string
	}{
		{"nothing waits", grant.Request{Slots: []grant.Slots{slots("t", "a", 5)}, Max: 5}, ""},
		{"room for all: most labels first, then the oldest",
			grant.Request{
				Waiting: []grant.Waiting{waiting("a", 2, 1), waiting("b", 1, 3), waiting("a,b", 3, 9), waiting("c", 1, 2)},
				Slots:   []grant.Slots{slots("t", "a,b,c", 10)}, Max: 10,
			}, "a,b=3 a=2 c=1 b=1"},
		{"never more than max", grant.Request{Waiting: []grant.Waiting{waiting("a", 9, 1)}, Slots: []grant.Slots{slots("t", "a", 10)}, Max: 4}, "a=4"},
		{"never more than free", grant.Request{Waiting: []grant.Waiting{waiting("a", 9, 1)}, Slots: []grant.Slots{slots("t", "a", 3)}, Max: 10}, "a=3"},
		{"what no template covers waits", grant.Request{Waiting: []grant.Waiting{waiting("a,gpu", 1, 1), waiting("a", 1, 2)}, Slots: []grant.Slots{slots("t", "a", 3)}, Max: 10}, "a=1"},
		{"the template with the fewest labels is taken first, so that a special one stays free",
			grant.Request{
				Waiting: []grant.Waiting{waiting("a", 1, 1), waiting("a,gpu", 1, 2)},
				Slots:   []grant.Slots{slots("big", "a,gpu", 1), slots("small", "a", 1)}, Max: 10,
			}, "a,gpu=1 a=1"},
		{"open promises take their room first",
			grant.Request{
				Waiting: []grant.Waiting{waiting("a", 5, 1)}, Slots: []grant.Slots{slots("t", "a", 5)},
				Open: []grant.Open{{Labels: set("a"), Units: 3}}, Max: 10,
			}, "a=2"},
		{"too little: the sets share",
			grant.Request{Waiting: []grant.Waiting{waiting("a", 100, 1), waiting("b", 2, 200)}, Slots: []grant.Slots{slots("t", "a,b", 6)}, Max: 10}, "a=4 b=2"},
		{"too little: what a set has already counts",
			grant.Request{Waiting: []grant.Waiting{active(waiting("a", 100, 1), 4), waiting("b", 100, 200)}, Slots: []grant.Slots{slots("t", "a,b", 4)}, Max: 10}, "b=4"},
		{"one slot: the set that got nothing for the longest time",
			grant.Request{Waiting: []grant.Waiting{granted(waiting("a", 100, 1), 7), granted(waiting("b", 1, 200), 6)}, Slots: []grant.Slots{slots("t", "a,b", 1)}, Max: 10}, "b=1"},
		{"one slot and neither got anything: the oldest job",
			grant.Request{Waiting: []grant.Waiting{waiting("b", 1, 2), waiting("a", 1, 1)}, Slots: []grant.Slots{slots("t", "a,b", 1)}, Max: 10}, "a=1"},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, show(grant.Plan(test.req))) })
	}
}

func show(grants []grant.Grant) string {
	out := make([]string, len(grants))
	for i, g := range grants {
		out[i] = fmt.Sprintf("%s=%d", strings.Join(g.Labels, ","), g.Count)
	}
	return strings.Join(out, " ")
}

// labelSets draws canonical sets over a few labels, so that they overlap.
func labelSets() *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		labels := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID).Draw(t, "labels")
		slices.Sort(labels)
		return labels
	})
}

func requests() *rapid.Generator[grant.Request] {
	return rapid.Custom(func(t *rapid.T) grant.Request {
		key := func(labels []string) string { return strings.Join(labels, ",") }
		var req grant.Request
		for i, labels := range rapid.SliceOfNDistinct(labelSets(), 0, 6, key).Draw(t, "waiting") {
			req.Waiting = append(req.Waiting, grant.Waiting{
				Labels: labels, Queued: rapid.IntRange(0, 8).Draw(t, "queued"), Active: rapid.IntRange(0, 8).Draw(t, "active"),
				LastGranted: rapid.Int64Range(0, 3).Draw(t, "last"), Oldest: int64(i*3 + rapid.IntRange(1, 3).Draw(t, "oldest")),
			})
		}
		for i, labels := range rapid.SliceOfN(labelSets(), 0, 5).Draw(t, "templates") {
			req.Slots = append(req.Slots, grant.Slots{Key: fmt.Sprint("t", i), Labels: labels, Free: rapid.IntRange(0, 6).Draw(t, "free")})
		}
		for _, labels := range rapid.SliceOfN(labelSets(), 0, 3).Draw(t, "open") {
			req.Open = append(req.Open, grant.Open{Labels: labels, Units: rapid.IntRange(0, 4).Draw(t, "units")})
		}
		req.Max = rapid.IntRange(0, 20).Draw(t, "max")
		return req
	})
}

func TestPlanKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := requests().Draw(t, "request")
		grants := grant.Plan(req)
		total := 0
		byLabels := map[string]grant.Waiting{}
		for _, w := range req.Waiting {
			byLabels[strings.Join(w.Labels, ",")] = w
		}
		for i, g := range grants {
			w, ok := byLabels[strings.Join(g.Labels, ",")]
			require.True(t, ok, "granted what does not wait")
			require.Positive(t, g.Count)
			require.LessOrEqual(t, g.Count, w.Queued, "granted more than waits")
			total += g.Count
			if i > 0 {
				before := byLabels[strings.Join(grants[i-1].Labels, ",")]
				require.False(t, len(before.Labels) < len(w.Labels) || len(before.Labels) == len(w.Labels) && before.Oldest > w.Oldest,
					"most labels first, then the oldest: %s", show(grants))
			}
		}
		require.LessOrEqual(t, total, req.Max, "granted more than asked for")
		require.True(t, placeable(req, grants), "granted more than there is room for: %s", show(grants))
		shuffled := req
		shuffled.Waiting, shuffled.Slots = slices.Clone(req.Waiting), slices.Clone(req.Slots)
		slices.Reverse(shuffled.Waiting)
		slices.Reverse(shuffled.Slots)
		require.Equal(t, show(grants), show(grant.Plan(shuffled)), "the order of the input must not matter")
	})
}

// placeable says whether every granted unit finds a slot of its own: a matching
// of units and slots, by augmenting paths. It is not how Plan does it.
func placeable(req grant.Request, grants []grant.Grant) bool {
	free := make([]int, len(req.Slots))
	var order []int
	for i, s := range req.Slots {
		free[i] = s.Free
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(len(req.Slots[a].Labels), len(req.Slots[b].Labels)), cmp.Compare(req.Slots[a].Key, req.Slots[b].Key))
	})
	for _, o := range req.Open { // open promises take what the words say
		for units := o.Units; units > 0; units-- {
			for _, i := range order {
				if free[i] > 0 && template.Covers(req.Slots[i].Labels, o.Labels) {
					free[i]--
					break
				}
			}
		}
	}
	var owner []int // unit in each slot, -1: free
	var kind []int  // template of each slot
	for i, n := range free {
		for range n {
			owner, kind = append(owner, -1), append(kind, i)
		}
	}
	var units [][]string
	for _, g := range grants {
		for range g.Count {
			units = append(units, g.Labels)
		}
	}
	for u := range units {
		if !augment(u, units, owner, kind, req, make([]bool, len(owner))) {
			return false
		}
	}
	return true
}

func augment(u int, units [][]string, owner, kind []int, req grant.Request, seen []bool) bool {
	for s := range owner {
		if seen[s] || !template.Covers(req.Slots[kind[s]].Labels, units[u]) {
			continue
		}
		seen[s] = true
		if owner[s] < 0 || augment(owner[s], units, owner, kind, req, seen) {
			owner[s] = u
			return true
		}
	}
	return false
}

func TestNothingIsLeftThatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := requests().Draw(t, "request")
		req.Max = 1000
		// With one template each unit that is refused found no slot.
		if len(req.Slots) > 1 {
			req.Slots = req.Slots[:1]
		}
		grants := grant.Plan(req)
		total, covered := 0, 0
		for _, g := range grants {
			total += g.Count
		}
		free := 0
		for _, s := range req.Slots {
			free = s.Free
			for _, o := range req.Open {
				if template.Covers(s.Labels, o.Labels) {
					free = max(free-o.Units, 0)
				}
			}
			for _, w := range req.Waiting {
				if template.Covers(s.Labels, w.Labels) {
					covered += w.Queued
				}
			}
		}
		require.Equal(t, min(free, covered), total, "room was left while jobs wait: %s", show(grants))
	})
}

// A set that floods must not starve another, however scarce the room is: with one
// slot that is free again and again, each set is served within as many rounds as
// there are sets.
func TestNoSetStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "sets")
		req := grant.Request{Max: rapid.IntRange(1, 2).Draw(t, "max")}
		var labels []string
		for i := range n {
			name := fmt.Sprint("l", i)
			labels = append(labels, name)
			req.Waiting = append(req.Waiting, grant.Waiting{
				Labels: []string{name}, Queued: rapid.SampledFrom([]int{50, 1000}).Draw(t, "queued"),
				Oldest: int64(rapid.IntRange(1, 1000).Draw(t, "oldest")*10 + i),
			})
		}
		req.Slots = []grant.Slots{{Key: "t", Labels: labels, Free: 1}}
		last := make([]int, n)
		for round := 1; round <= 4*n; round++ {
			for _, g := range grant.Plan(req) {
				i := slices.Index(labels, g.Labels[0])
				require.LessOrEqual(t, round-last[i], n, "%s waited too long", labels[i])
				last[i] = round
				req.Waiting[i].LastGranted = int64(round)
				req.Waiting[i].Queued -= g.Count
			}
		}
		for i := range last {
			require.NotZero(t, last[i], "%s was never served", labels[i])
		}
	})
}

func BenchmarkPlan(b *testing.B) {
	var req grant.Request
	for i := range 1000 {
		req.Slots = append(req.Slots, grant.Slots{Key: fmt.Sprint(i), Labels: []string{"docker", fmt.Sprint("l", i)}, Free: 2})
		req.Waiting = append(req.Waiting, grant.Waiting{Labels: []string{fmt.Sprint("l", i)}, Queued: 3, Oldest: int64(i)})
	}
	req.Max = 1000
	for b.Loop() {
		grant.Plan(req)
	}
}
