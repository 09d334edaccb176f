// Package form says what may be told of a host from outside: names, labels, caps,
// versions, ids, and the hub's own URL. It decides, and knows no host. Its errors are
// queue.InvalidErrors, as for all of the hub's inputs.
package form

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/queue"
)

const (
	// MaxLabels is how many labels a host may have.
	MaxLabels = 32
	// MaxRunners is the highest cap that can be set.
	MaxRunners = 10_000
	// MaxVersionLength is that of an agent's version.
	MaxVersionLength = 100
	// MaxEnrolmentTTL is how long an enrolment may live at most.
	MaxEnrolmentTTL = 7 * 24 * time.Hour
)

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	keyForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)
	valueForm = regexp.MustCompile(`^[A-Za-z0-9._-]{0,63}$`)
	// A version begins with a letter or a digit, and is no path.
	versionForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_-]{0,99}$`)
)

// Name says whether a host may have the name: 1 to 63 characters of a-z, 0-9 and "-",
// with no "-" at either end. It can't look like an id, since either names a host.
func Name(name string) error {
	if !nameForm.MatchString(name) {
		return Invalid("name", "is %.70q: 1 to 63 characters of a-z, 0-9 and - are allowed, with no - at either end", name)
	}
	if _, err := uuid.Parse(name); err == nil {
		return Invalid("name", "is %q: it must not look like an id", name)
	}
	return nil
}

// Labels says whether a host may have the labels, or a selector be them: at most 32
// pairs, of a key of 1 to 63 characters of a-z, 0-9, ".", "_", "/" and "-" that begins
// and ends with a letter or a digit, and a value of up to 63 of A-Z, a-z, 0-9, ".", "_"
// and "-".
func Labels(field string, labels map[string]string) error {
	if len(labels) > MaxLabels {
		return Invalid(field, "are %d: at most %d are allowed", len(labels), MaxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !keyForm.MatchString(key) {
			return Invalid(field, "have the key %.70q: 1 to 63 characters of a-z, 0-9, ., _, / and - are allowed, with a letter or a digit at both ends", key)
		}
		if !valueForm.MatchString(labels[key]) {
			return Invalid(field, "have the value %.70q: up to 63 characters of A-Z, a-z, 0-9, ., _ and - are allowed", labels[key])
		}
	}
	return nil
}

// Cap says whether a host may have that cap; 0: its CPUs.
func Cap(n int) error {
	if n < 0 || n > MaxRunners {
		return Invalid("max_runners", "is %d: 0 to %d is allowed", n, MaxRunners)
	}
	return nil
}

// TTL says whether an enrolment may live so long; 0 is the default.
func TTL(ttl time.Duration) error {
	if ttl < 0 || ttl > MaxEnrolmentTTL || ttl > 0 && ttl < time.Second {
		return Invalid("ttl_seconds", "is %s: 1 s to %s is allowed, and 0 for the default", ttl, MaxEnrolmentTTL)
	}
	return nil
}

// Version says whether an agent may be of that version.
func Version(version string) error {
	if !versionForm.MatchString(version) {
		return Invalid("version", "is %.40q: such as v1.2.3, of at most %d characters", version, MaxVersionLength)
	}
	return nil
}

// Agent says whether an agent may have that id: a UUID as it is written.
func Agent(agent string) error {
	if parsed, err := uuid.Parse(agent); err != nil || parsed.String() != agent {
		return Invalid("agent", "is no UUID in lower case")
	}
	return nil
}

// Invalid says which field of an input breaks which rule: a queue.InvalidError.
func Invalid(field, format string, args ...any) error {
	return &queue.InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
