package events

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/tokens"
)

// Event is something that happened.
type Event struct {
	// ID grows with time; it says where a reader is. Append sets it.
	ID int64
	// At is by the hub's clock. Append sets it where it is zero.
	At time.Time
	// Kind is what happened, such as host-online; at most 64 characters.
	Kind string
	// Object is what it happened to, such as host/builder-01; at most 300 characters.
	Object string
	// Text is for people; at most 1000 characters.
	Text string
}

// KindMissing is the kind of an event that is in no table: it tells a reader that
// what comes after its last one is not kept, or was never here, and that its
// picture of the hub is out of date.
const KindMissing = "events-missing"

const (
	maxKind   = 64
	maxObject = 300
	maxText   = 1000
)

// normal bounds what is stored, and keeps tokens and control characters out of it.
func (e Event) normal(now time.Time) Event {
	if e.At.IsZero() {
		e.At = now
	}
	e.Kind, e.Object, e.Text = clean(e.Kind, maxKind), clean(e.Object, maxObject), clean(e.Text, maxText)
	return e
}

// clean makes one line of at most limit bytes of valid UTF-8, without tokens.
func clean(text string, limit int) string {
	text = tokens.Redact(strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	const mark = "…"
	cut := limit - len(mark)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}

// Filter says which events. Zero fields don't filter.
type Filter struct {
	// Kinds: any of these. A kind stands for those that begin with it and a dash
	// too: host for host-online.
	Kinds []string
	// Object is one object, or what stands before the slash: host for all hosts.
	Object string
}
