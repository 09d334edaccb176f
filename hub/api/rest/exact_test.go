package rest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api/rest"
)

func TestExact(t *testing.T) {
	for text, want := range map[string]string{
		`{"run":"printf \\xe9 é 😀 \ud83d\uDE00 \\ud800 \"","env":{"a":"","A":"{\"a\":1,\"a\":2}"}}`: "",
		`[{"a":1},{"a":[{"a":"a"},"a:",{}]}, "\ufffd"]`:                                             "",
		" null ":                           "",
		"{\"run\":\"caf\xe9\"}":            "byte 11 is not UTF-8",
		"{\"caf\xc3\":1}":                  "byte 5 is not UTF-8",
		"\"\xed\xa0\x80\"":                 "byte 1 is not UTF-8", // a half as CESU-8 has it
		`"x\ud800"`:                        "byte 2 has half",
		`"\\\udc00"`:                       "byte 3 has half",
		`"\ud83d\ud83d\ude00"`:             "byte 1 has half",
		`"\ud83d\n\ude00"`:                 "byte 1 has half",
		`{"\udbff":1}`:                     "byte 2 has half",
		`{"a":1,"b":{},"a":2}`:             "byte 14 begins a key",
		`{"a":{"b":1, "\u0062" : 2}}`:      "byte 13 begins a key",
		`[[],{"a":[{"a":1}],"c":1,"a":2}]`: "byte 25 begins a key",
	} {
		err := rest.Exact([]byte(text))
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, "%q", text)
	}
}

var escapes = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|.)`)

// Exact finds just what package json changes or loses in a text that it reads.
func FuzzExact(f *testing.F) {
	for _, text := range []string{`{"a":"\ud800","a":[1,"x"]}`, "\"\xff\"", `"\ufffd\\ufffd\ud83d\ude00"`, `{"a":{"b":1,"\u0062":2}}`, "{\"\\\"\": \"\uFFFD\"}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		written := bytes.Count(text, []byte("\uFFFD"))
		for _, escape := range escapes.FindAll(text, -1) {
			if strings.EqualFold(string(escape), `\ufffd`) {
				written++
			}
		}
		read, twice := decoded(t, text)
		exact := utf8.Valid(text) && read == written && !twice
		require.Equal(t, exact, rest.Exact(text) == nil, "%q", text)
	})
}

// decoded reads a text as package json does: how many U+FFFD its strings have, and
// whether a key comes twice.
func decoded(t *testing.T, text []byte) (replaced int, twice bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type frame struct {
		keys map[string]bool // nil of an array
		key  bool            // a key is next
	}
	open := []frame{{}}
	for {
		token, err := d.Token()
		if err == io.EOF {
			return replaced, twice
		}
		require.NoError(t, err)
		top := &open[len(open)-1]
		s, isText := token.(string)
		replaced += strings.Count(s, "\uFFFD")
		if isText && top.key {
			twice = twice || top.keys[s]
			top.keys[s], top.key = true, false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, frame{keys: map[string]bool{}, key: true})
			continue
		case json.Delim('['):
			open = append(open, frame{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
			top = &open[len(open)-1]
		}
		top.key = top.keys != nil
	}
}
