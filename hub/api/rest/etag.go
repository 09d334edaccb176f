package rest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/api/problem"
)

// ETag is the ETag of a version.
func ETag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

// Condition is an If-Match header (RFC 9110, section 13.1.1): the ETag of what is
// edited, as it was read.
type Condition string

// AnyVersion is the version that an edit takes whatever it finds; NoVersion is one
// that nothing ever has.
const (
	AnyVersion = 0
	NoVersion  = -1
)

// Version is what an edit must find. current is asked only where several are named.
func (c Condition) Version(ctx context.Context, current func(context.Context) (int64, error)) (int64, error) {
	text := strings.TrimSpace(string(c))
	if text == "" || text == "*" {
		return AnyVersion, nil
	}
	var versions []int64
	for tag := range strings.SplitSeq(text, ",") {
		tag = strings.TrimSpace(tag)
		bare, quoted := strings.CutPrefix(strings.TrimPrefix(tag, "W/"), `"`)
		bare, closed := strings.CutSuffix(bare, `"`)
		if !quoted || !closed {
			const message = `is not an ETag such as "3", with its quotes`
			return 0, problem.New(http.StatusBadRequest, "invalid", "If-Match "+message, problem.FieldError{Location: "header.If-Match", Message: message})
		}
		// A weak one never matches, nor does another's.
		if v, err := strconv.ParseInt(bare, 10, 64); err == nil && v > 0 && !strings.HasPrefix(tag, "W/") {
			versions = append(versions, v)
		}
	}
	switch len(versions) {
	case 0:
		return NoVersion, nil
	case 1:
		return versions[0], nil
	}
	now, err := current(ctx)
	if err != nil {
		return 0, err
	}
	if !slices.Contains(versions, now) {
		return NoVersion, nil
	}
	return now, nil
}

// Stale answers an edit of what was edited since, with the ETag that it has now.
func Stale(object string, version int64) error {
	p := problem.New(http.StatusPreconditionFailed, "stale",
		fmt.Sprintf("%s was edited since: its version is %d now. Read it again and decide anew", object, version))
	return huma.ErrorWithHeaders(p, http.Header{"Etag": {ETag(version)}})
}
