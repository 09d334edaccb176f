package fleet

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Audit counts anew what is kept counted, and says where it differs.
func (f *Fleet) Audit() error {
	f.mu.Lock()
	defer f.unlock()
	for _, h := range f.order {
		before := *h.count()
		before.templates = mapsClone(before.templates)
		h.counted = false
		if after := *h.count(); !reflect.DeepEqual(before, after) {
			return fmt.Errorf("host %s: kept %+v, counted %+v", h.ID, before, after)
		}
	}
	live := 0
	for _, r := range f.all {
		if !r.dropped {
			live++
			if f.runners[r.id] != r || r.host.runners[r.id] != r {
				return fmt.Errorf("runner %s is not where it should be", r.id)
			}
		}
	}
	if live != len(f.runners) || len(f.all)-live != f.dropped || f.sorted && !slices.IsSortedFunc(f.all, func(a, b *record) int { return strings.Compare(a.id, b.id) }) {
		return fmt.Errorf("%d runners, %d in order, %d dropped, sorted %v", len(f.runners), live, f.dropped, f.sorted)
	}
	return nil
}

func mapsClone(m map[string]int) map[string]int {
	out := map[string]int{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
