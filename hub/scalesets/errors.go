package scalesets

import (
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/template/file"
)

var (
	// ErrConfig: a Config can't be used; the text names the field.
	ErrConfig = errors.New("scalesets: config")
	// ErrNotFound: there is no such scale set or credential.
	ErrNotFound = errors.New("scalesets: not found")
	// ErrExists: there is a scale set with that name.
	ErrExists = errors.New("scalesets: name taken")
	// ErrStale: something was edited since the version that was given, or while a
	// file was applied.
	ErrStale = errors.New("scalesets: changed meanwhile")
	// ErrInUse: scale sets use the credential.
	ErrInUse = errors.New("scalesets: credential in use")
	// ErrInvalid: the input breaks a rule. Of a document all that is wrong is in
	// the *file.Error within, and the first of it in the *queue.InvalidError within.
	ErrInvalid = queue.ErrInvalid
)

// invalid says which field of an input breaks which rule: a queue.InvalidError,
// as for all of the hub's inputs.
func invalid(field, format string, args ...any) error {
	return &queue.InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// documentError is a *file.Error that is ErrInvalid too.
type documentError struct {
	content *file.Error
	first   queue.InvalidError
}

// Error is that of the file.
func (e *documentError) Error() string { return e.content.Error() }

// Unwrap are the errors that it is.
func (e *documentError) Unwrap() []error { return []error{e.content, &e.first} }

func refuse(err error) error {
	var content *file.Error
	if !errors.As(err, &content) {
		return err
	}
	first := content.Problems[0]
	field := first.Path
	if field == "" {
		field = "document"
	}
	return &documentError{content: content, first: queue.InvalidError{Field: field, Problem: first.Message}}
}
