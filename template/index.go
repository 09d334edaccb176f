package template

import "iter"

// Index finds the templates that fit a job without looking at all of them. It
// is built once from a list of templates and never changes.
type Index struct {
	ranked  []Template       // best first
	byLabel map[string][]int // positions in ranked, ascending
	byKey   map[string]int
}

// NewIndex builds the index of templates, whose order does not matter. Of two
// with one key, the last one is found by it.
func NewIndex(templates []Template) *Index {
	x := &Index{
		ranked:  rank(templates),
		byLabel: map[string][]int{},
		byKey:   make(map[string]int, len(templates)),
	}
	for i, t := range x.ranked {
		x.byKey[t.Key] = i
		for _, label := range t.Labels {
			x.byLabel[label] = append(x.byLabel[label], i)
		}
	}
	return x
}

// Fits yields the templates whose labels cover want (canonical), best first,
// as Select orders them.
func (x *Index) Fits(want []string) iter.Seq[*Template] {
	return func(yield func(*Template) bool) {
		if len(want) == 0 { // everything covers nothing
			for i := range x.ranked {
				if !yield(&x.ranked[i]) {
					return
				}
			}
			return
		}
		for _, i := range x.rarest(want) {
			if Covers(x.ranked[i].Labels, want) && !yield(&x.ranked[i]) {
				return
			}
		}
	}
}

// rarest returns the positions of the templates that bear the label of want
// that the fewest bear: all that fit are among them.
func (x *Index) rarest(want []string) []int {
	var fewest []int
	for i, label := range want {
		if at := x.byLabel[label]; i == 0 || len(at) < len(fewest) {
			fewest = at
		}
	}
	return fewest
}

// Get returns the template with this key, or nil.
func (x *Index) Get(key string) *Template {
	if i, ok := x.byKey[key]; ok {
		return &x.ranked[i]
	}
	return nil
}

// All returns the templates, best first. The caller does not change it.
func (x *Index) All() []Template { return x.ranked }
