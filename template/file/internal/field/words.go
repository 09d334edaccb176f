package field

import (
	"errors"
	"strings"
)

// splitWords splits a text into words as a shell does: at white space, but for
// what is in quotes or behind a backslash. Nothing is expanded.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == '\'' && c != '\'':
			word.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			i++
			if i == len(s) {
				return nil, errors.New("a backslash at the end escapes nothing")
			}
			if quote == '"' && !strings.ContainsRune(`"\$`+"`", rune(s[i])) {
				word.WriteByte(c)
			}
			word.WriteByte(s[i])
			inWord = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case strings.IndexByte(" \t\r\n", c) >= 0:
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote that is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
