package apitest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// Judge says how a route answers a credential: 0, it is let in, or the status of
// the refusal.
type Judge func(Credential) int

// Anybody lets everybody in.
func Anybody(Credential) int { return 0 }

// Role lets in good tokens with at least this role: others with a role get 403, all
// the rest 401.
func Role(least queue.Role) Judge {
	return func(c Credential) int {
		switch {
		case !c.Good || !c.Role.Valid():
			return http.StatusUnauthorized
		case !c.Role.Covers(least):
			return http.StatusForbidden
		}
		return 0
	}
}

// Kind lets in good credentials of these kinds; the rest gets 401.
func Kind(kinds ...tokens.Kind) Judge {
	return func(c Credential) int {
		if c.Good && slices.Contains(kinds, c.Kind) {
			return 0
		}
		return http.StatusUnauthorized
	}
}

// Whose is next for credentials with this subject; others, which next would let in,
// get the status.
func Whose(subject string, status int, next Judge) Judge {
	return func(c Credential) int {
		if said := next(c); said != 0 || c.Subject == subject {
			return said
		}
		return status
	}
}

// Route is one route of the table.
type Route struct {
	Method string
	// Pattern is the path with its {names}.
	Pattern string
	// Path is what is asked; default Pattern with "none" for its names.
	Path string
	// Body and its Type; default none.
	Body, Type string
	// Judge says who is let in. Required.
	Judge Judge
	// Foreign: its errors are not problem documents, as with the Shipfox API.
	Foreign bool
}

var names = regexp.MustCompile(`\{[^}]*\}`)

func (r Route) path() string {
	return cmp.Or(r.Path, names.ReplaceAllString(r.Pattern, "none"))
}

// Check asks every route of the handler with every credential. Each request comes
// from an address of its own, so that none is refused for the failures of others.
func Check(t *testing.T, handler http.Handler, routes []Route, credentials []Credential) {
	t.Helper()
	require.NotEmpty(t, routes)
	asked, held := 0, map[string]string{} // a refusal uses nothing up
	for _, route := range routes {
		t.Run(route.Method+" "+route.Pattern, func(t *testing.T) {
			require.NotNil(t, route.Judge, "nobody said who may use it")
			let := 0
			for _, c := range credentials {
				asked++
				want := route.Judge(c)
				text, known := held[c.Name]
				if !known || want == 0 {
					text = c.Authorization()
				}
				if want != 0 {
					held[c.Name] = text
				}
				a := ask(t, handler, route, text, asked)
				switch {
				case want == 0:
					let++
					require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}, a.Code,
						"%s must be let in: %s", c.Name, a.Body)
					require.Less(t, a.Code, 500, "%s: %s", c.Name, a.Body)
					require.NotContains(t, a.Body.String(), "there is no route", c.Name)
				default:
					require.Equal(t, want, a.Code, "%s must be refused: %s", c.Name, a.Body)
					refused(t, route, c.Name, text, a)
				}
			}
			require.Positive(t, let, "nobody is let in: is the route there?")
		})
	}
}

// refused checks what a refusal says.
func refused(t *testing.T, route Route, name, secret string, a *httptest.ResponseRecorder) {
	t.Helper()
	if len(secret) > 30 {
		require.NotContains(t, a.Body.String(), secret[len(secret)-20:], "%s: a refusal must not repeat the secret", name)
	}
	if route.Foreign {
		return
	}
	require.Equal(t, "application/problem+json", a.Header().Get("Content-Type"), name)
	require.Equal(t, "no-store", a.Header().Get("Cache-Control"), name)
	var p struct {
		Status int    `json:"status"`
		Type   string `json:"type"`
		Detail string `json:"detail"`
	}
	require.NoError(t, json.Unmarshal(a.Body.Bytes(), &p), "%s: %s", name, a.Body)
	require.Equal(t, a.Code, p.Status)
	require.NotEmpty(t, p.Type)
	require.NotEmpty(t, p.Detail)
	if a.Code == http.StatusUnauthorized {
		require.True(t, strings.HasPrefix(a.Header().Get("WWW-Authenticate"), "Bearer"), name)
	}
}

// ask does one request. An answer that goes on and on is ended when it begins.
func ask(t *testing.T, handler http.Handler, route Route, authorization string, n int) *httptest.ResponseRecorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request := httptest.NewRequestWithContext(ctx, route.Method, route.path(), strings.NewReader(route.Body))
	request.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", n>>16&255, n>>8&255, n&255)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	if route.Type != "" {
		request.Header.Set("Content-Type", route.Type)
	}
	answer := &beginning{ResponseRecorder: httptest.NewRecorder(), begun: cancel}
	func() {
		defer func() {
			if cause := recover(); cause != nil && cause != http.ErrAbortHandler {
				panic(cause)
			}
		}()
		handler.ServeHTTP(answer, request)
	}()
	return answer.ResponseRecorder
}

// beginning is a recorder that tells when a stream begins.
type beginning struct {
	*httptest.ResponseRecorder
	begun func()
}

// Flush is what streams do, and short answers don't.
func (b *beginning) Flush() {
	b.ResponseRecorder.Flush()
	b.begun()
}
