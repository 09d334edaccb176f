// Package hush cuts secrets out of texts of those who were given them: a registry, an
// engine or an agent says what it likes, and may say what it was sent.
package hush

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// most is how many secrets are remembered: there is one for each registry in use, and
// those that are made anew now and then.
const most = 64

// Secrets are those that somebody was given lately. The zero value has none. One
// goroutine at a time may use it.
type Secrets struct {
	known []secret // the last is the one that was given last
	cut   *strings.Replacer
}

type secret struct{ user, password string }

// Add remembers a user's password. An empty one is none.
func (s *Secrets) Add(user, password string) {
	if password == "" {
		return
	}
	is := secret{user, password}
	if at := slices.Index(s.known, is); at >= 0 {
		s.known = append(slices.Delete(s.known, at, at+1), is)
		return
	}
	if len(s.known) >= most {
		s.known = slices.Delete(s.known, 0, 1)
	}
	s.known, s.cut = append(s.known, is), nil
}

// Cut is the text without them, and without what HTTP, JSON and Go make of them.
func (s *Secrets) Cut(text string) string {
	if text == "" || len(s.known) == 0 {
		return text
	}
	if s.cut == nil {
		s.cut = s.replacer()
	}
	return s.cut.Replace(text)
}

// replacer takes the longest form first: one may be a part of another.
func (s *Secrets) replacer() *strings.Replacer {
	var forms []string
	for _, is := range s.known {
		forms = append(forms, is.forms()...)
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	var pairs []string
	for _, form := range slices.Compact(forms) {
		pairs = append(pairs, form, "[redacted]")
	}
	return strings.NewReplacer(pairs...)
}

// forms are how the password may stand in a text.
func (is secret) forms() []string {
	pair := []byte(is.user + ":" + is.password)
	inJSON, _ := json.Marshal(is.password) // a text
	return []string{
		is.password, strings.Trim(strconv.Quote(is.password), `"`), strings.Trim(string(inJSON), `"`),
		url.QueryEscape(is.password), url.PathEscape(is.password),
		base64.StdEncoding.EncodeToString(pair), base64.RawStdEncoding.EncodeToString(pair),
		base64.URLEncoding.EncodeToString(pair), base64.RawURLEncoding.EncodeToString(pair),
	}
}
