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
	// ErrForbidden: the token's role does not allow it.
	ErrForbidden = errors.New("client: the token's role does not allow this")
	// ErrNotFound: there is no such job, host, token or the like.
	ErrNotFound = errors.New("client: not found")
	// ErrNotConfigured: this hub has no such thing at all, hosts for instance.
	ErrNotConfigured = errors.New("client: not configured on this hub")
	// ErrInvalid: the hub says what is wrong with the request; see Error.Fields.
	ErrInvalid = errors.New("client: invalid")
	// ErrConflict: as things are now it can't be done; the text says why.
	ErrConflict = errors.New("client: conflict")
	// ErrStale: it was edited by somebody else since it was read.
	ErrStale = errors.New("client: edited by somebody else since")
	// ErrStorageFull: the hub's disk is too full for anything new.
	ErrStorageFull = errors.New("client: the hub's storage is full")
	// ErrUnreachable: there was no answer, or not one of a hub.
	ErrUnreachable = errors.New("client: hub not reached")
	// ErrTooMany: this token has too many streams open, and gets no more; see
	// Error.Code for failed attempts, which have the same status.
	ErrTooMany = errors.New("client: too many streams of this token")
	// ErrTLS: the hub's certificate is not good, or not for its name. ErrAuthority,
	// which is an ErrTLS: it is of an authority that is not trusted here.
	ErrTLS       = errors.New("client: the hub's certificate is not good")
	ErrAuthority = fmt.Errorf("%w: unknown authority", ErrTLS)
	// ErrScheme: the URL is http:// and the hub speaks TLS, or the other way round.
	ErrScheme = errors.New("client: the scheme of the hub's URL is wrong")
	// ErrUsage: the configuration is wrong.
	ErrUsage = errors.New("client: usage")
)

// problemPrefix comes before the code in a problem's type.
const problemPrefix = "urn:slipway:problem:"

// Error is a problem that the hub answered; or one with the request that the client
// saw itself, and then nothing was sent.
type Error struct {
	// Type is urn:slipway:problem: and a code; see Code.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Fields name what is wrong with the request.
	Fields []FieldError `json:"errors"`
	// RequestID is what the hub's log calls the request; empty where it did not say.
	RequestID string `json:"-"`
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Code is the problem's word, such as storage-full; empty when there is none.
func (e *Error) Code() string {
	code, ok := strings.CutPrefix(e.Type, problemPrefix)
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
	if e.Status >= http.StatusInternalServerError && e.Code() != "storage-full" && e.RequestID != "" { // where there is more in the hub's log
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Is makes the sentinels match.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case ErrForbidden:
		return e.Status == http.StatusForbidden
	case ErrNotFound:
		return e.Status == http.StatusNotFound && e.Code() == "not-found"
	case ErrNotConfigured:
		return e.Code() == "not-configured"
	case ErrInvalid:
		return e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusRequestEntityTooLarge
	case ErrConflict:
		return e.Status == http.StatusConflict
	case ErrStale:
		return e.Status == http.StatusPreconditionFailed
	case ErrTooMany:
		return e.Status == http.StatusTooManyRequests && e.Code() == "too-many-streams"
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
