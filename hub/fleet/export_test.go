package fleet

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Audit counts anew what is kept counted, and says where it differs.
func (f *Fleet) Audit() error {
	f.mu.Lock()
	defer f.unlock()
	for _, h := range f.order {
		before, doomed := *h.count(), h.doomed
		before.Templates = maps.Clone(before.Templates)
		h.counted = false
		if after := *h.count(); !reflect.DeepEqual(before, after) || doomed != h.doomed {
			return fmt.Errorf("host %s: kept %+v, %d doomed, counted %+v, %d", h.ID, before, doomed, after, h.doomed)
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
