package hosts

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
)

const (
	// MaxLabels is how many labels a host may have.
	MaxLabels = 32
	// MaxRunners is the highest cap that can be set.
	MaxRunners = 10_000
	// MaxVersionLength is that of an agent's version.
	MaxVersionLength = 100
)

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	keyForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)
	valueForm = regexp.MustCompile(`^[A-Za-z0-9._-]{0,63}$`)
	// A version begins with a letter or a digit, and is no path.
	versionForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_-]{0,99}$`)
)

// CheckName says whether a host may have the name. The error is a
// queue.InvalidError. A name can't look like an id, since either names a host.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return invalid("name", "is %.70q: 1 to 63 characters of a-z, 0-9 and - are allowed, with no - at either end", name)
	}
	if _, err := uuid.Parse(name); err == nil {
		return invalid("name", "is %q: it must not look like an id", name)
	}
	return nil
}

// CheckLabels says whether a host may have the labels, or a selector be them. The
// error is a queue.InvalidError. The form is in the package's comment.
func CheckLabels(field string, labels map[string]string) error {
	if len(labels) > MaxLabels {
		return invalid(field, "are %d: at most %d are allowed", len(labels), MaxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !keyForm.MatchString(key) {
			return invalid(field, "have the key %.70q: 1 to 63 characters of a-z, 0-9, ., _, / and - are allowed, with a letter or a digit at both ends", key)
		}
		if !valueForm.MatchString(labels[key]) {
			return invalid(field, "have the value %.70q: up to 63 characters of A-Z, a-z, 0-9, ., _ and - are allowed", labels[key])
		}
	}
	return nil
}

func checkMaxRunners(n int) error {
	if n < 0 || n > MaxRunners {
		return invalid("max_runners", "is %d: 0 to %d is allowed", n, MaxRunners)
	}
	return nil
}

// checkTTL is of an enrolment's; 0 is the default.
func checkTTL(ttl time.Duration) error {
	if ttl < 0 || ttl > MaxEnrolmentTTL || ttl > 0 && ttl < time.Second {
		return invalid("ttl_seconds", "is %s: 1 s to %s is allowed, and 0 for the default", ttl, MaxEnrolmentTTL)
	}
	return nil
}

func checkVersion(version string) error {
	if !versionForm.MatchString(version) {
		return invalid("version", "is %.40q: such as v1.2.3, of at most %d characters", version, MaxVersionLength)
	}
	return nil
}

// checkAgent is of an agent's id: a UUID as it is written.
func checkAgent(agent string) error {
	if parsed, err := uuid.Parse(agent); err != nil || parsed.String() != agent {
		return invalid("agent", "is no UUID in lower case")
	}
	return nil
}
