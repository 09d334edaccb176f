package client

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors of all calls.
var (
	// ErrUnauthorized: the token is refused.
	ErrUnauthorized = errors.New("client: token refused by the hub")
	// ErrNotFound: there is no such job or token.
	ErrNotFound = errors.New("client: not found")
	// ErrStorageFull: the hub's disk is too full for anything new.
	ErrStorageFull = errors.New("client: the hub's storage is full")
	// ErrUnreachable: there was no answer, or not one of a hub.
	ErrUnreachable = errors.New("client: hub not reached")
	// ErrUsage: the configuration is wrong.
	ErrUsage = errors.New("client: usage")
)

// Error is a problem that the hub answered.
type Error struct {
	// Type is urn:slipway:problem: and a code; see Code.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Fields name what is wrong with the request.
	Fields []FieldError `json:"errors"`
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Code is the problem's word, such as storage-full; empty when there is none.
func (e *Error) Code() string {
	code, ok := strings.CutPrefix(e.Type, "urn:slipway:problem:")
	if !ok {
		return ""
	}
	return code
}

// Error is one line.
func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = fmt.Sprintf("%d %s", e.Status, e.Title)
	}
	for _, f := range e.Fields {
		if !strings.Contains(text, f.Message) {
			text += "; " + f.Location + ": " + f.Message
		}
	}
	return text
}

// Is makes the sentinels match.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case ErrNotFound:
		return e.Status == http.StatusNotFound && e.Code() == "not-found"
	case ErrStorageFull:
		return e.Code() == "storage-full"
	}
	return false
}

// passing says whether the same call may succeed later.
func passing(err error) bool {
	var answer *Error
	if errors.As(err, &answer) {
		return answer.Status == http.StatusTooManyRequests || answer.Status >= 500 && answer.Status != http.StatusInsufficientStorage
	}
	return errors.Is(err, ErrUnreachable)
}
