package template

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of labels, as the Shipfox API has them for templates, polls and runners.
const (
	// MaxLabels is how many labels a set may have, at least one.
	MaxLabels = 20
	// MaxLabelLength is in bytes.
	MaxLabelLength = 128
)

// Canonical returns labels trimmed, in lower case, unique and sorted. The
// error of a bad one names it and says what is allowed. An empty set is an error.
func Canonical(labels []string) ([]string, error) {
	out := make([]string, 0, len(labels))
	for _, label := range labels {
		label = strings.ToLower(strings.TrimSpace(label))
		if err := checkLabel(label); err != nil {
			return nil, err
		}
		out = append(out, label)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 {
		return nil, fmt.Errorf("no labels: at least one is needed")
	}
	if len(out) > MaxLabels {
		return nil, fmt.Errorf("%d labels: at most %d are allowed", len(out), MaxLabels)
	}
	return out, nil
}

func checkLabel(label string) error {
	if len(label) == 0 || len(label) > MaxLabelLength {
		return fmt.Errorf("label %q has %d characters: 1 to %d are allowed", shorten(label), len(label), MaxLabelLength)
	}
	for i, c := range []byte(label) {
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return fmt.Errorf("label %q: a-z 0-9 . _ - are allowed, the first a letter or a digit", label)
		}
	}
	return nil
}

func shorten(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// Covers says whether have includes every label of want. Both are canonical.
func Covers(have, want []string) bool {
	i := 0
	for _, w := range want {
		for i < len(have) && have[i] < w {
			i++
		}
		if i == len(have) || have[i] != w {
			return false
		}
		i++
	}
	return true
}
