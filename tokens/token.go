// Package tokens makes, reads and compares the bearer tokens of Slipway and of
// the Shipfox API: sf_<kind>_ or, with an environment's name, sf_<env>_<kind>_,
// and 32 random bytes in unpadded base64url.
//
// A Token prints as its first characters and nothing more, whatever the verb or
// the encoder, and in an unexported field of something that is printed not even so; Reveal is the one way to the secret. What is stored is the Digest.
// Who consumes single-use tokens does it in one atomic step of the store.
package tokens

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"unique"
)

// ErrMalformed: the text is no token. The text is never part of an error.
var ErrMalformed = errors.New("tokens: malformed")

const (
	secretBytes  = 32
	secretLength = 43 // base64url of 32 bytes, unpadded
	prefixLength = 12 // what the Shipfox API shows in listings
)

// Token is one secret. The zero value is no token. Compare with Equal, not ==.
type Token struct {
	// Package fmt calls no method on an unexported field of another type, and
	// prints what is in it; but it follows no pointer there, and a handle is one.
	text unique.Handle[string]
}

func tokenOf(text string) Token { return Token{unique.Make(text)} }

// New makes a token of kind.
func New(kind Kind) Token { return NewIn("", kind) }

var environment = regexp.MustCompile(`^[a-z0-9]*$`)

// NewIn makes a token of kind that names an environment (such as "staging":
// a-z and 0-9, not the name of a kind); "" names none. It panics on a kind that does not exist and on a
// bad environment: both are constants of the program.
func NewIn(env string, kind Kind) Token {
	if !kinds[kind] || !environment.MatchString(env) || kinds[Kind(env)] {
		panic(fmt.Sprintf("tokens: no kind %q in environment %q", kind, env))
	}
	var secret [secretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails, see crypto/rand
	head := "sf_"
	if env != "" {
		head += env + "_"
	}
	return tokenOf(head + string(kind) + "_" + base64.RawURLEncoding.EncodeToString(secret[:]))
}

// Parse reads a token. The error is ErrMalformed and does not tell the text.
func Parse(text string) (Token, error) {
	head, ok := cutSecret(text)
	if !ok {
		return Token{}, ErrMalformed
	}
	parts := strings.Split(head, "_")
	switch len(parts) {
	case 2:
	case 3:
		if parts[1] == "" || !environment.MatchString(parts[1]) || kinds[Kind(parts[1])] {
			return Token{}, ErrMalformed
		}
	default:
		return Token{}, ErrMalformed
	}
	if parts[0] != "sf" || !kinds[Kind(parts[len(parts)-1])] {
		return Token{}, ErrMalformed
	}
	return tokenOf(text), nil
}

// cutSecret returns what stands before "_" and the secret, which may itself
// hold "_".
func cutSecret(text string) (head string, ok bool) {
	cut := len(text) - secretLength - 1
	if cut <= 0 || text[cut] != '_' {
		return "", false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text[cut+1:])
	return text[:cut], err == nil && len(secret) == secretBytes
}

// Kind is what the token is for; empty for the zero Token.
func (t Token) Kind() Kind {
	head, ok := cutSecret(t.Reveal())
	if !ok {
		return ""
	}
	return Kind(head[strings.LastIndexByte(head, '_')+1:])
}

// Reveal is the secret text, for the one who is to hold it.
func (t Token) Reveal() string {
	if t.IsZero() {
		return ""
	}
	return t.text.Value()
}

// IsZero says whether there is no token.
func (t Token) IsZero() bool { return t == Token{} }

// Prefix is what listings show: the first 12 characters, of which at most a
// few are secret.
func (t Token) Prefix() string {
	text := t.Reveal()
	return text[:min(prefixLength, len(text))]
}

// Digest is what a store keeps and looks up.
func (t Token) Digest() Digest { return Digest(sha256.Sum256([]byte(t.Reveal()))) }

// Equal compares in constant time. No token equals the zero Token.
func (t Token) Equal(other Token) bool {
	a, b := t.Digest(), other.Digest()
	return !t.IsZero() && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String is the prefix with the rest cut: never the secret.
func (t Token) String() string {
	if t.IsZero() {
		return "(none)"
	}
	return t.Prefix() + "…"
}

// GoString is String.
func (t Token) GoString() string { return "tokens.Token(" + t.String() + ")" }

// Format makes every verb print String.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// MarshalText is String: a token that slips into JSON or a log stays hidden.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue is String, for log/slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Digest is the SHA-256 of a token's text. It is no secret: 256 random bits
// can't be searched.
type Digest [sha256.Size]byte

// String is the digest in hexadecimal, the form in which it is stored.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String wrote.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(d) {
		return Digest{}, fmt.Errorf("tokens: digest: 64 hexadecimal characters are needed, got %d", len(text))
	}
	copy(d[:], b)
	return d, nil
}

// Equal compares in constant time.
func (d Digest) Equal(other Digest) bool { return subtle.ConstantTimeCompare(d[:], other[:]) == 1 }
