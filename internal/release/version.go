package release

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// version is a semantic version (semver.org, 2.0.0) and how many commits a
// build by "git describe" lies behind its tag.
type version struct {
	core    [3]uint64
	pre     []string
	commits uint64
}

var (
	semver = regexp.MustCompile(`^v?(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$`)
	// described is the end of what "git describe --tags" says of a commit that is no tag.
	described = regexp.MustCompile(`^(.*)-([0-9]{1,9})-g[0-9a-f]{4,40}$`)
)

const maxVersion = 100

// parseVersion reads a version; ok is false for a development build that names
// no version, such as "dev" or a commit.
func parseVersion(text string) (v version, ok bool) {
	if len(text) > maxVersion {
		return version{}, false
	}
	text = strings.TrimSuffix(text, "-dirty")
	if m := described.FindStringSubmatch(text); m != nil {
		text = m[1]
		v.commits, _ = strconv.ParseUint(m[2], 10, 64)
	}
	m := semver.FindStringSubmatch(text)
	if m == nil {
		return version{}, false
	}
	for i := range v.core {
		v.core[i], _ = strconv.ParseUint(m[i+1], 10, 64)
	}
	if m[4] != "" {
		v.pre = strings.Split(m[4], ".")
		for _, id := range v.pre {
			if numeric(id) && len(id) > 1 && id[0] == '0' {
				return version{}, false
			}
		}
	}
	return v, true
}

// releasable says whether a version may stand in a manifest: one that can be
// ordered, and of a clean tree.
func releasable(text string) bool {
	_, ok := parseVersion(text)
	return ok && !strings.HasSuffix(text, "-dirty")
}

// Newer says whether going from current to next goes forward, by semver with
// pre-releases; build metadata orders nothing. A build of "git describe"
// (v1.2.3-4-gabcdef) comes after its tag. A current one that names no version
// ("dev", a commit) is older than every release, since otherwise it could never
// be left. A next one that names none is ErrVersion.
func Newer(current, next string) (bool, error) {
	to, ok := parseVersion(next)
	if !ok || !releasable(next) {
		return false, fmt.Errorf("%w: %.*q", ErrVersion, maxVersion, next)
	}
	from, ok := parseVersion(current)
	return !ok || from.compare(to) < 0, nil
}

func (v version) compare(other version) int {
	for i := range v.core {
		if c := cmp.Compare(v.core[i], other.core[i]); c != 0 {
			return c
		}
	}
	return cmp.Or(comparePre(v.pre, other.pre), cmp.Compare(v.commits, other.commits))
}

// comparePre orders pre-releases; none comes after any (semver 11.3).
func comparePre(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return cmp.Compare(len(b), len(a))
	}
	for i := range min(len(a), len(b)) {
		if c := compareID(a[i], b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// compareID orders one identifier: numbers by value and before words (semver 11.4).
func compareID(a, b string) int {
	switch na, nb := numeric(a), numeric(b); {
	case na && nb:
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case na:
		return -1
	case nb:
		return 1
	}
	return cmp.Compare(a, b)
}

func numeric(id string) bool {
	for _, c := range id {
		if c < '0' || c > '9' {
			return false
		}
	}
	return id != ""
}
