package hush

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAllFormsAreCut(t *testing.T) {
	const user, password = "robot", `p"w?>d/ü+1<x>`
	var s Secrets
	require.Equal(t, "as it was", s.Cut("as it was"))
	s.Add(user, "")
	s.Add(user, "short")
	s.Add(user, password)
	s.Add(user, "short-and-more")
	pair := []byte(user + ":" + password)
	for _, form := range []string{
		password, strings.Trim(strconv.Quote(password), `"`), `p\"w?\u003ed/ü+1\u003cx\u003e`, url.QueryEscape(password), url.PathEscape(password),
		base64.StdEncoding.EncodeToString(pair), base64.RawStdEncoding.EncodeToString(pair),
		base64.URLEncoding.EncodeToString(pair), base64.RawURLEncoding.EncodeToString(pair),
	} {
		require.Equal(t, "pull: [redacted] of robot", s.Cut(fmt.Sprintf("pull: %s of robot", form)))
	}
	require.Equal(t, "[redacted], [redacted]!", s.Cut("short-and-more, short!"), "the longest first")

	for n := range most {
		s.Add(user, password)
		s.Add(user, fmt.Sprintf("other-%04d", n))
	}
	require.Equal(t, "[redacted] other-0000 [redacted]", s.Cut(password+" other-0000 other-0063"), "the oldest give way")
}
