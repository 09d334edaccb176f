package wire

import (
	"context"
	"errors"
	"io/fs"

	"github.com/slipway-ci/slipway/backend"
)

// Code is an error as it is sent. The values are sent: add at the end only.
type Code string

// The codes. An unknown code, Internal's too, says nothing: of a launch it is uncertain.
const (
	Exhausted   Code = "exhausted"
	Invalid     Code = "invalid"
	Unavailable Code = "unavailable"
	Refused     Code = "refused"
	Exists      Code = "exists"
	NotFound    Code = "not-found"
	Unsupported Code = "unsupported"
	TimedOut    Code = "timed-out"
	Cancelled   Code = "cancelled"
	Internal    Code = "internal"

	// Superseded, in a bye: a newer connection of the same host has taken over.
	Superseded Code = "superseded"
	// Duplicated, in a bye: the engine belongs to another host, the host to another
	// engine, or another agent lives under the host's name at the same time.
	Duplicated Code = "host-duplicated"
	// Removed, in a bye: the host is not known any more.
	Removed Code = "host-removed"
	// Stopping, in a bye: the sender shuts down.
	Stopping Code = "stopping"
	// Violation, in a bye: the other side does not keep to the protocol.
	Violation Code = "violation"
	// Rotated, in a bye: the agent is to come back at once, with its newest token.
	Rotated Code = "rotated"
)

// Errors that a connection ends with.
var (
	ErrSuperseded = errors.New("wire: a newer connection has taken over")
	ErrDuplicated = errors.New("wire: host duplicated")
	ErrRemoved    = errors.New("wire: host removed")
	ErrStopping   = errors.New("wire: stopping")
	ErrViolation  = errors.New("wire: protocol violated")
	ErrRotated    = errors.New("wire: the token was rotated")
)

// codes maps errors to codes, both ways, the first that fits.
var codes = []struct {
	code Code
	is   error
}{
	{Exists, backend.ErrExists},
	{Exhausted, backend.ErrExhausted},
	{Invalid, backend.ErrInvalid},
	{Unavailable, backend.ErrUnavailable},
	{Refused, backend.ErrRefused},
	{NotFound, fs.ErrNotExist},
	{Unsupported, errors.ErrUnsupported},
	{TimedOut, context.DeadlineExceeded},
	{Cancelled, context.Canceled},
	{Superseded, ErrSuperseded},
	{Duplicated, ErrDuplicated},
	{Removed, ErrRemoved},
	{Stopping, ErrStopping},
	{Violation, ErrViolation},
	{Rotated, ErrRotated},
}

// Error is an error that crossed, or is about to. It unwraps to what its code
// stands for.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message,omitempty"`
}

// FromError makes an error fit to be sent; nil stays nil. Its text is clipped,
// and cleaned of tokens.
func FromError(err error) *Error {
	if err == nil {
		return nil
	}
	return &Error{Code: codeOf(err), Message: text(err.Error())}
}

func codeOf(err error) Code {
	for _, c := range codes {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	return Internal
}

// Error is the text of the other side, or the code where it gave none.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message
}

// Unwrap is the error that the code stands for, or nil.
func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.is
		}
	}
	return nil
}

// Err is e as an error: nil where e is nil. A text of the other side is cleaned
// here too: what it sends is not trusted.
func (e *Error) Err() error {
	if e == nil {
		return nil
	}
	return &Error{Code: e.Code, Message: text(e.Message)}
}

func (e *Error) check() error {
	if e == nil {
		return nil
	}
	if e.Code == "" {
		return errMissing
	}
	return within(len(e.Code) <= MaxID && len(e.Message) <= MaxText)
}
