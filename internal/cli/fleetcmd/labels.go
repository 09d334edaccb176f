package fleetcmd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// labels is a flag that takes k=v,k2=v2; the empty text is none. Given again, it
// adds.
type labels map[string]string

// String is the flag's text.
func (l labels) String() string { return pairs(l) }

// Type is what the help shows as the value.
func (l labels) Type() string { return "k=v,..." }

// Set adds what text says.
func (l labels) Set(text string) error {
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || key == "" {
			return fmt.Errorf("%q: key=value is needed", pair)
		}
		if old, ok := l[key]; ok && old != value {
			return errors.New(key + " is there twice")
		}
		l[key] = value
	}
	return nil
}

// pairs is labels for people, in order.
func pairs(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, ",")
}
