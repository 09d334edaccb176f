package command

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// Stamp is a time for people.
func Stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// StampOf is Stamp of a time that may not have come.
func StampOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return Stamp(*t)
}

// Age is how long ago t was, in two digits or three.
func Age(t time.Time) string { return Short(time.Since(t)) }

// AgeOf is Age of a time that may not have come.
func AgeOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return Age(*t)
}

// Short is a duration in two digits or three; below zero counts as none.
func Short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// Size is a number of bytes for people; 0 is not known, and empty.
func Size(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return units.CustomSize("%.4g%s", float64(bytes), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}

// Number is a number without trailing zeros.
func Number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// Value is a value of a JSON document on one line: text as it is, everything else
// as JSON, which is short and leaves no doubt.
func Value(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return Number(v)
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(text.String())
}

// Plural is n of a noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Choice is names as a sentence has them: a, b or c.
func Choice(names ...string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
