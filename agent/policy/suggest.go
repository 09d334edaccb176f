package policy

import (
	"maps"
	"slices"
	"strings"
)

// didYouMean is "; did you mean x?" for the key nearest to a wrong one, or
// nothing where none is near.
func didYouMean(word string) string {
	if len(word) > 64 {
		return ""
	}
	word = plain(word)
	best, distance := "", max(1, len(word)/3)+1
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if d := editDistance(word, plain(key)); d < distance {
			best, distance = key, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

func plain(word string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(word))
}

// editDistance counts insertions, deletions and changes of bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(corner+1, row[j]+1, change)
		}
	}
	return row[len(b)]
}
