package rest

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/api/problem"
)

// From says where a page begins. Each list that has pages embeds it in its input, and
// answers with PageOf.
//
// A cursor is the key of the last item with a sum over it and its list, so that what no
// answer of this list gave is refused: as a key it would begin the page anywhere, and a
// program that follows it would miss items, or begin anew for ever.
type From struct {
	Cursor string `query:"cursor" doc:"next of the answer before, of the same list"`

	list, key string
}

var _ huma.Resolver = (*From)(nil)

// Key is that of the item after which the page begins; empty: with the first one.
func (f *From) Key() string { return f.key }

// Resolve is huma.Resolver's: it reads the cursor, before the handler is called.
func (f *From) Resolve(ctx huma.Context) []error {
	f.list = ctx.Operation().OperationID
	if f.Cursor == "" {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(f.Cursor)
	if err == nil && len(text) > sumSize {
		f.key = string(text[sumSize:])
	}
	if f.next(f.key) != f.Cursor {
		return []error{problem.Invalid("query.cursor", "is not one of this list: it takes the next of the answer before, or nothing to begin with the first page")}
	}
	return nil
}

// sumSize is how many bytes of a cursor are the sum: as many as no slip of the pen
// gets right.
const sumSize = 6

// next is the cursor of the page that follows the item with the key; empty: none does.
func (f *From) next(key string) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(f.list + "\x00" + key))
	return base64.RawURLEncoding.EncodeToString(append(sum[:sumSize:sumSize], key...))
}
