package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/slipway-ci/slipway/docker"
)

// pattern is one of the key images.
//
// Its parts between slashes are matched one by one with those of the image: a *
// stands for any characters of one part, and ** for one part or more. Without tag and
// digest it takes every version of an image. With a tag it takes images that are named by
// tag, and with a digest those that are named by it.
type pattern struct {
	text   string
	parts  []string
	tag    string // may have *
	digest string
}

var (
	digestForm = regexp.MustCompile(`^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$`)
	tagForm    = regexp.MustCompile(`^[a-zA-Z0-9_.*-]{1,128}$`)
	domainForm = regexp.MustCompile(`^[a-zA-Z0-9.*-]+(:[0-9*]+)?$`)
	partForm   = regexp.MustCompile(`^[a-z0-9._*-]+$`)
)

// parsePattern reads a pattern. One that no image could match is an error, with
// the one that may have been meant.
func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	rest, digest, withDigest := strings.Cut(text, "@")
	if withDigest {
		if p.digest = digest; !digestForm.MatchString(digest) {
			return p, fmt.Errorf("%q: after @ a digest is needed, such as sha256: and 64 hexadecimal digits", text)
		}
	}
	slash := strings.LastIndex(rest, "/")
	if colon := strings.LastIndex(rest, ":"); colon > slash && slash >= 0 {
		rest, p.tag = rest[:colon], rest[colon+1:]
		if !tagForm.MatchString(p.tag) {
			return p, fmt.Errorf("%q: %q is no tag", text, p.tag)
		}
	}
	if p.tag != "" && p.digest != "" {
		return p, fmt.Errorf("%q: leave the tag out, the digest says all", text)
	}
	p.parts = strings.Split(rest, "/")
	if slash < 0 && rest != "**" {
		return p, fmt.Errorf("%q: registry and repository are needed; did you mean %s?", text, meant(text, rest))
	}
	for i, part := range p.parts {
		form := partForm
		if i == 0 {
			form = domainForm
		}
		switch {
		case part == "**":
		case strings.Contains(part, "**"):
			return p, fmt.Errorf("%q: ** must be all there is between two slashes", text)
		case !form.MatchString(part):
			return p, fmt.Errorf("%q: %q can't be part of an image's name", text, part)
		}
	}
	return p, p.reachable()
}

// reachable says no to a pattern that is not in canonical form, the one form
// that images are compared in.
func (p pattern) reachable() error {
	first := p.parts[0]
	switch {
	case first == "**":
		return nil
	case first != "localhost" && !strings.ContainsAny(first, ".:*"):
		return fmt.Errorf("%q: no registry; did you mean docker.io/%s?", p.text, p.text)
	case first == "index.docker.io":
		return fmt.Errorf("%q: did you mean %s?", p.text, strings.TrimPrefix(p.text, "index."))
	case first == "docker.io" && len(p.parts) == 2 && p.parts[1] != "**":
		return fmt.Errorf("%q: did you mean docker.io/library/%s?", p.text, strings.TrimPrefix(p.text, "docker.io/"))
	}
	return nil
}

// meant guesses at a pattern without a slash: a registry, or a short name.
func meant(text, name string) string {
	host, _, _ := strings.Cut(name, ":")
	if host == "localhost" || strings.ContainsAny(host, ".*") {
		return text + "/**"
	}
	return "docker.io/library/" + text
}

// matches says whether an image is one of the pattern's.
func (p pattern) matches(image reference.Named) bool {
	digested, byDigest := image.(reference.Digested)
	tagged, byTag := image.(reference.Tagged)
	switch {
	case p.digest != "" && (!byDigest || digested.Digest().String() != p.digest):
		return false
	case p.tag != "" && (byDigest || !byTag || !glob(p.tag, tagged.Tag())):
		// The engine takes no notice of a tag beside a digest.
		return false
	}
	parts := append([]string{reference.Domain(image)}, strings.Split(reference.Path(image), "/")...)
	return matchParts(p.parts, parts)
}

func matchParts(pattern, parts []string) bool {
	if len(pattern) == 0 {
		return len(parts) == 0
	}
	if pattern[0] != "**" {
		return len(parts) > 0 && glob(pattern[0], parts[0]) && matchParts(pattern[1:], parts[1:])
	}
	for n := 1; n <= len(parts); n++ {
		if matchParts(pattern[1:], parts[n:]) {
			return true
		}
	}
	return false
}

// glob matches a text with a pattern in which * stands for any characters.
func glob(pattern, text string) bool {
	pieces := strings.Split(pattern, "*")
	if len(pieces) == 1 {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, pieces[0])
	last := pieces[len(pieces)-1]
	for _, piece := range pieces[1 : len(pieces)-1] {
		_, after, found := strings.Cut(text, piece)
		text, ok = after, ok && found
	}
	return ok && strings.HasSuffix(text, last)
}

var errNotCanonical = errors.New("it is not in canonical form")

// canonical reads an image in canonical form; nil is an image's id.
func canonical(image string) (reference.Named, error) {
	ref, err := reference.ParseAnyReference(image)
	if err != nil {
		return nil, err
	}
	named, ok := ref.(reference.Named)
	if !ok {
		return nil, nil
	}
	if reference.TagNameOnly(named).String() != image {
		return nil, errNotCanonical
	}
	return named, nil
}

func (p *Policy) judgeImage(r *docker.Request) *Refusal {
	named, err := canonical(r.Image)
	switch {
	case r.Image != r.Config.Image || err != nil:
		return never("images", "the image %s can't be judged: it is not in canonical form", short(r.Image))
	case p.rules.Images == nil:
		return nil
	case named == nil:
		return never("images", "the image %s is named by its id, and the policy knows names", short(r.Image))
	case slices.ContainsFunc(p.images, func(one pattern) bool { return one.matches(named) }):
		return nil
	}
	return unless("images", fmt.Sprintf("images: [%q]", reference.TrimNamed(named)), "the image %s fits none of the patterns", short(r.Image))
}
