package template

import (
	"cmp"
	"slices"
)

// Select returns those of templates whose labels cover want (canonical), best
// first: lowest cost, then fewest labels, then key in byte order. The order of
// the input does not matter.
func Select(templates []Template, want []string) []Template {
	var fits []Template
	for i := range templates {
		if Covers(templates[i].Labels, want) {
			fits = append(fits, templates[i])
		}
	}
	slices.SortFunc(fits, compare)
	return fits
}

// rank returns templates ordered as Select orders those that fit.
func rank(templates []Template) []Template {
	ranked := slices.Clone(templates)
	slices.SortFunc(ranked, compare)
	return ranked
}

func compare(a, b Template) int {
	return cmp.Or(
		cmp.Compare(a.EffectiveCost(), b.EffectiveCost()),
		cmp.Compare(len(a.Labels), len(b.Labels)),
		cmp.Compare(a.Key, b.Key),
	)
}
