package field

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/template/file/internal/document"
)

var sizePattern = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$`)

// sizeUnits are powers of 1024, whatever they are called.
var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10,
	"m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
	"g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
	"t": 1 << 40, "tb": 1 << 40, "tib": 1 << 40,
}

// parseSize reads a size in bytes: 512m, 4GiB, 1.5 g, 1073741824.
func parseSize(s string) (int64, error) {
	var m []string
	if len(s) < 100 {
		m = sizePattern.FindStringSubmatch(strings.TrimSpace(s))
	}
	unit, known := 0.0, false
	if m != nil {
		unit, known = sizeUnits[strings.ToLower(m[2])]
	}
	if !known {
		return 0, fmt.Errorf("%s is not a size: write a number and one of b k kb kib m mb mib g gb gib t tb tib, such as 4GiB", document.Quote(s))
	}
	number, err := strconv.ParseFloat(m[1], 64)
	bytes := math.Floor(number * unit)
	switch {
	case err != nil || bytes >= math.MaxInt64:
		return 0, fmt.Errorf("%s is too large", document.Quote(s))
	case bytes < 1:
		return 0, errors.New("a size must be above 0")
	}
	return int64(bytes), nil
}
