package scalesets

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. It is written with the largest unit that divides it,
// such as 4GiB; without one as a number.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func (s Size) value() any {
	for _, u := range sizeUnits {
		if n := int64(s); n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return int64(s)
}

// MarshalJSON writes text with a unit, or a number.
func (s Size) MarshalJSON() ([]byte, error) { return json.Marshal(s.value()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Size) UnmarshalJSON(text []byte) error {
	word := strings.Trim(string(text), `"`)
	factor := int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(word, u.name); ok {
			word, factor = rest, u.bytes
		}
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return fmt.Errorf("size %q: %w", text, err)
	}
	*s = Size(n * factor)
	return nil
}

// GPUs is a number of them; -1 is written as all.
type GPUs int

func (g GPUs) value() any {
	if g < 0 {
		return "all"
	}
	return int(g)
}

// MarshalJSON writes a number, or all.
func (g GPUs) MarshalJSON() ([]byte, error) { return json.Marshal(g.value()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (g *GPUs) UnmarshalJSON(text []byte) error {
	if string(text) == `"all"` {
		*g = -1
		return nil
	}
	return json.Unmarshal(text, (*int)(g))
}

// Duration is written as text such as 1h30m.
type Duration time.Duration

// String is that text; 0 is empty.
func (d Duration) String() string {
	if d == 0 {
		return ""
	}
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
