package document

import (
	"math"
	"strconv"
	"strings"
)

// Shorten cuts a text for a message.
func Shorten(s string) string {
	n := 60
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

// Quote is a text in a message: short, in quotes and on one line.
func Quote(s string) string {
	return `"` + strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(Shorten(s)) + `"`
}

// Join leads from a path to a key below it.
func Join(path, key string) string {
	if len(key) > 100 || strings.ContainsFunc(key, isOdd) {
		key = Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// isOdd says that a key can't be part of a path without quotes.
func isOdd(r rune) bool { return r <= ' ' || r == 0x7f || r == '.' || r == '"' }

// IsControl says that a character is for no text that people read.
func IsControl(r rune) bool { return r < ' ' || r == 0x7f }

// NumberText is a number in decimal, never with an exponent.
func NumberText(f float64) string {
	if f == 0 {
		return "0" // -0 too
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// ParseNumber reads a number as YAML 1.2 has it: 010 is ten, 0o10 is eight.
func ParseNumber(s string) (float64, bool) {
	plain := strings.ReplaceAll(s, "_", "")
	sign := 1.0
	digits := strings.TrimPrefix(plain, "+")
	if rest, ok := strings.CutPrefix(plain, "-"); ok {
		sign, digits = -1, rest
	}
	for prefix, base := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if rest, ok := strings.CutPrefix(strings.ToLower(digits), prefix); ok {
			n, err := strconv.ParseUint(rest, base, 64)
			return sign * float64(n), err == nil
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	return sign * f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}
