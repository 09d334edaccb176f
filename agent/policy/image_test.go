package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestImagePatterns(t *testing.T) {
	for pattern, c := range map[string]struct{ yes, no []string }{
		"docker.io/library/alpine": {
			[]string{"docker.io/library/alpine:latest", "docker.io/library/alpine:3.22", "docker.io/library/alpine@" + digestA},
			[]string{"docker.io/library/alpine-evil:latest", "docker.io/evil/alpine:latest", "ghcr.io/library/alpine:latest", "docker.io/library/alpine/x:latest"},
		},
		"docker.io/library/*": {
			[]string{"docker.io/library/node:24"},
			[]string{"docker.io/library/a/b:1", "docker.io/other/node:24", "evil.io/docker.io/library/node:24"},
		},
		"ghcr.io/acme/**": {
			[]string{"ghcr.io/acme/a:1", "ghcr.io/acme/a/b/c:1"},
			[]string{"ghcr.io/acme:1", "ghcr.io/acme-evil/a:1", "ghcr.io.evil.com/acme/a:1"},
		},
		"ghcr.io/**/runner": {
			[]string{"ghcr.io/a/runner:1", "ghcr.io/a/b/runner:1"},
			[]string{"ghcr.io/runner:1", "ghcr.io/a/runner-x:1"},
		},
		"ghcr.io/acme/ci-*-x": {
			[]string{"ghcr.io/acme/ci--x:1", "ghcr.io/acme/ci-a-b-x:1"},
			[]string{"ghcr.io/acme/ci-x:1", "ghcr.io/acme/ci-a-xy:1", "ghcr.io/acme/ci-a/b-x:1"},
		},
		"*.example.com/x": {
			[]string{"registry.example.com/x:1"},
			[]string{"example.com/x:1", "evil-example.com/x:1", "registry.example.com.evil.io/x:1", "registry.example.com:5000/x:1"},
		},
		"localhost:5000/x": {[]string{"localhost:5000/x:1"}, []string{"localhost:5001/x:1", "localhost/x:1"}},
		"docker.io/library/node:24*": {
			[]string{"docker.io/library/node:24", "docker.io/library/node:24-slim"},
			// The engine takes no notice of the tag beside a digest.
			[]string{"docker.io/library/node:latest", "docker.io/library/node@" + digestA, "docker.io/library/node:24@" + digestA},
		},
		"docker.io/library/node@" + digestA: {
			[]string{"docker.io/library/node@" + digestA, "docker.io/library/node:1@" + digestA},
			[]string{"docker.io/library/node:latest", "docker.io/library/node@" + digestB, "docker.io/library/other@" + digestA},
		},
		"**@" + digestB: {[]string{"ghcr.io/any/thing@" + digestB}, []string{"ghcr.io/any/thing@" + digestA, "ghcr.io/any/thing:1"}},
		"**":            {[]string{"docker.io/library/a:1", "x.io/a/b/c/d:1", "x.io/a@" + digestA}, nil},
		"*/*/*":         {[]string{"docker.io/library/a:1"}, []string{"x.io/a:1", "x.io/a/b/c:1"}},
	} {
		p, err := New(Rules{Images: []string{pattern}})
		require.NoError(t, err, pattern)
		review := func(name string) error {
			r := request()
			image(&r, name)
			return p.Review(r)
		}
		for _, name := range c.yes {
			require.NoError(t, review(name), "%s takes %s", pattern, name)
		}
		for _, name := range c.no {
			var refusal *Refusal
			require.ErrorAs(t, review(name), &refusal, "%s must not take %s", pattern, name)
			require.Equal(t, "images", refusal.Rule)
			mended, err := New(Rules{Images: []string{strings.Trim(strings.TrimPrefix(refusal.Remedy, "images: "), `[]"`)}})
			require.NoError(t, err, "%s", refusal.Remedy)
			r := request()
			image(&r, name)
			require.NoError(t, mended.Review(r))
		}
	}
}

// A pattern that no image could match is a slip, and says what may be meant.
func TestImpossiblePatterns(t *testing.T) {
	for pattern, hint := range map[string]string{
		"alpine":                     "did you mean docker.io/library/alpine?",
		"alpine:3.22":                "did you mean docker.io/library/alpine:3.22?",
		"acme/runner":                "did you mean docker.io/acme/runner?",
		"docker.io/alpine":           "did you mean docker.io/library/alpine?",
		"index.docker.io/a/b":        "did you mean docker.io/a/b?",
		"ghcr.io":                    "did you mean ghcr.io/**?",
		"*":                          "did you mean */**?",
		"ghcr.io/a**":                "** must be all",
		"ghcr.io/Acme/x":             `"Acme"`,
		"ghcr.io//x":                 `""`,
		"":                           "needed",
		"ghcr.io/x@sha256:12":        "digest",
		"ghcr.io/x:1@" + digestA:     "leave the tag out",
		"ghcr.io/x:":                 "no tag",
		"ghcr.io/x?":                 `"x?"`,
		"https://ghcr.io/x":          `can't be part`,
		"ghcr.io/x:1 2":              "no tag",
		"user@ghcr.io/x":             "digest",
		"ghcr.io/../x" + "\x00":      "can't be part",
		"gh cr.io/x":                 "can't be part",
		"ghcr.io/x@" + digestA + "0": "digest",
	} {
		_, err := New(Rules{Images: []string{pattern}})
		require.ErrorContains(t, err, hint, "%q", pattern)
		require.ErrorContains(t, err, "images: ")
	}
}
