package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// formats are huma's, with bodies that are exact.
func formats() map[string]huma.Format {
	all := maps.Clone(huma.DefaultFormats)
	for name, f := range all {
		all[name] = huma.Format{Marshal: f.Marshal, Unmarshal: unmarshal}
	}
	return all
}

// unmarshal is json.Unmarshal of a body that is exact.
func unmarshal(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return err
	}
	return Exact(text)
}

// Exact says what package json would change or lose in silence of a text that it
// reads: bytes that are not UTF-8 and halves of surrogate pairs, which it replaces,
// and keys that come twice, of which it takes the last. The error repeats nothing of
// the text.
func Exact(text []byte) error {
	if at := notUTF8(text); at >= 0 {
		return fmt.Errorf("byte %d is not UTF-8 text: JSON must be UTF-8", at)
	}
	var open []map[string]bool // the keys of each object that is open; nil of an array
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			open = append(open, map[string]bool{})
		case '[':
			open = append(open, nil)
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			end := i + 1
			for text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			content := text[i+1 : end]
			if at := loneSurrogate(content); at >= 0 {
				return fmt.Errorf("byte %d has half of a surrogate pair: it is no character", i+1+at)
			}
			if rest := bytes.TrimLeft(text[end+1:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
				key := string(content)
				if bytes.IndexByte(content, '\\') >= 0 {
					_ = json.Unmarshal(text[i:end+1], &key) // it is valid
				}
				keys := open[len(open)-1]
				if keys[key] {
					return fmt.Errorf("byte %d begins a key that is there already: each may come once", i)
				}
				keys[key] = true
			}
			i = end
		}
	}
	return nil
}

// notUTF8 is where a text first is not UTF-8; -1: nowhere.
func notUTF8(text []byte) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

// loneSurrogate is where the inside of a JSON string has an escaped half of a
// surrogate pair without the other (RFC 8259, section 8.2); -1: nowhere.
func loneSurrogate(s []byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		first := escaped(s[i:])
		switch {
		case !utf16.IsSurrogate(first):
			i++ // past what is escaped: it may be a backslash
		case utf16.DecodeRune(first, escaped(s[i+6:])) == utf8.RuneError:
			return i
		default:
			i += 11
		}
	}
	return -1
}

// escaped is the code unit of the escape (a backslash, u, four digits) that s begins
// with, or -1.
func escaped(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
