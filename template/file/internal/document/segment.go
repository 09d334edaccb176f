package document

import (
	"fmt"
	"strings"
)

// maxOpeners is how many expressions one text may hold.
const maxOpeners = 100

const (
	OpenMark  = "${{"
	CloseMark = "}}"

	unclosed = "this " + OpenMark + " is not closed by " + CloseMark + "; write $" + OpenMark + " for a literal one"
)

// Segment is a part of a text: literal text or one expression.
type Segment struct {
	Literal string
	// Expression is the source between the braces; isExpr tells it from a literal.
	Expression string
	IsExpr     bool
	// opener counts the "${{" of the text before this one's.
	opener int
}

// splitError is a text that can't be split; opener tells at which "${{".
type splitError struct {
	opener  int
	message string
}

func (e *splitError) Error() string { return e.message }

// split cuts a text into segments; nil when there is no expression in it and
// nothing to unescape. "$${{" is a literal "${{".
func split(text string) ([]Segment, error) {
	if !strings.Contains(text, OpenMark) {
		return nil, nil
	}
	var out []Segment
	var literal strings.Builder
	if strings.Count(text, OpenMark) > maxOpeners {
		return nil, &splitError{0, fmt.Sprintf("more than %d expressions in one text", maxOpeners)}
	}
	openers := 0
	flush := func() {
		if literal.Len() > 0 {
			out = append(out, Segment{Literal: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "$"+OpenMark):
			literal.WriteString(OpenMark)
			i += 1 + len(OpenMark)
			openers++
		case strings.HasPrefix(text[i:], OpenMark):
			flush()
			expression, ok := cut(text[i+len(OpenMark):])
			if !ok {
				return nil, &splitError{openers, unclosed}
			}
			if strings.TrimSpace(expression) == "" {
				return nil, &splitError{openers, "an empty expression"}
			}
			out = append(out, Segment{Expression: expression, IsExpr: true, opener: openers})
			openers += 1 + strings.Count(expression, OpenMark)
			i += len(OpenMark) + len(expression) + len(CloseMark)
		default:
			literal.WriteByte(text[i])
			i++
		}
	}
	flush()
	return out, nil
}

// cut returns what is before the closing braces: those that are not in a string
// literal, a comment or a map literal.
func cut(s string) (string, bool) {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\'':
			i = skipString(s, i)
			continue
		case strings.HasPrefix(s[i:], "//"):
			i = skipComment(s, i)
			continue
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case strings.HasPrefix(s[i:], CloseMark):
			return s[:i], true
		}
		i++
	}
	return "", false
}

// skipString returns the index after the CEL string literal whose quote is at i.
// An unclosed one takes the rest.
func skipString(s string, i int) int {
	raw := isRaw(s, i)
	quote := s[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s[i:], triple) {
		quote = triple
	}
	for i += len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote)
		}
	}
	return len(s)
}

// isRaw says whether the quote at i begins a raw literal: r"", br"".
func isRaw(s string, i int) bool {
	if i == 0 || s[i-1] != 'r' && s[i-1] != 'R' {
		return false
	}
	i--
	if i > 0 && (s[i-1] == 'b' || s[i-1] == 'B') {
		i--
	}
	return i == 0 || !IsWord(s[i-1])
}

func IsWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func skipComment(s string, i int) int {
	if j := strings.IndexByte(s[i:], '\n'); j >= 0 {
		return i + j
	}
	return len(s)
}
