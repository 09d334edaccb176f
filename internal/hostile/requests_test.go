package hostile_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bomb is a YAML document that grows by its anchors to some 10^9 nodes.
func bomb() string {
	text := "version: 1\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 10; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Join([]string{ref, ref, ref, ref, ref, ref, ref, ref, ref, ref}, ","))
	}
	return text + "scale_sets: *a9\n"
}

// Why: a request that makes no sense is told so: at once, without a fault of the hub,
// and without what it said in a header or in the log's own lines.
func TestOddRequestsAreRefusedAtOnce(t *testing.T) {
	s := newSite(t)
	s.enrol("good", 4)
	s.scaleSet("small", 4)
	quote := url.QueryEscape
	for _, c := range []struct{ method, path, kind, body string }{
		{"GET", "/install/..%2f..%2fetc%2fpasswd", "", ""},
		{"GET", "/install/slipway-agent-linux-amd64%00.manifest", "", ""},
		{"GET", "/install/" + strings.Repeat("a", 30000) + ".sh", "", ""},
		{"GET", "/api/v1/jobs?cursor=" + quote("' OR 1=1; DROP TABLE jobs; --"), "", ""},
		{"GET", "/api/v1/jobs?cursor=" + strings.Repeat("A", 30000), "", ""},
		{"GET", "/api/v1/jobs?limit=99999999999999999999", "", ""},
		{"GET", "/api/v1/runners?cursor=" + quote("x\x00\xff"), "", ""},
		{"GET", "/api/v1/hosts?selector=" + quote(strings.Repeat("a=b,", 5000)), "", ""},
		{"GET", "/api/v1/hosts/" + url.PathEscape("../../tokens"), "", ""},
		{"GET", "/api/v1/hosts/" + url.PathEscape("a\r\nSet-Cookie: x=y"), "", ""},
		{"GET", "/api/v1/events?after=-1&object=" + quote("%' OR '1'='1"), "", ""},
		{"GET", "/api/v1/events?kind=" + quote(strings.Repeat("(a+)+", 40)), "", ""},
		{"GET", "/api/v1/audit?since=" + quote("0000-00-00T99:99:99Z"), "", ""},
		{"POST", "/api/v1/jobs", "application/json", strings.Repeat(`{"a":`, 100000)},
		{"POST", "/api/v1/jobs", "application/json", `{"labels": ["small\r\nX: y"], "run": "true"}`},
		{"POST", "/api/v1/jobs", "application/json", `{"labels": ["small"], "run": "true", "timeout_seconds": 1e308}`},
		{"POST", "/api/v1/hosts", "application/json", `{"name": "a\nb"}`},
		{"POST", "/api/v1/scale-sets", "application/json", `{"name": "../x", "labels": ["x"]}`},
		{"POST", "/api/v1/scale-sets/apply", "application/yaml", bomb()},
		{"POST", "/api/v1/scale-sets/apply", "application/yaml", strings.Repeat("[", 100000)},
		{"POST", "/api/v1/scale-sets/apply", "application/yaml", strings.Repeat("a: &a\n", 1000)},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, s.url+c.path, strings.NewReader(c.body))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+s.admin)
		if c.kind != "" {
			request.Header.Set("Content-Type", c.kind)
		}
		request.Header.Set("X-Request-Id", "x y")
		began := time.Now()
		answer, err := s.http.Do(request)
		require.NoError(t, err, "%.100s", c.path)
		text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.Less(t, answer.StatusCode, 500, "%s %.100s: %.300s", c.method, c.path, text)
		require.Empty(t, answer.Header.Get("Set-Cookie"))
		require.NotContains(t, string(text), "SQL", "%.100s", c.path)
		require.Less(t, time.Since(began), 5*time.Second, "%s %.100s", c.method, c.path)
	}
	require.NotContains(t, s.log.String(), "\nSet-Cookie")
}

// Why: a browser that is led to the hub by another page has nothing to send but
// cookies, and the hub takes none: no page can do anything in anybody's name, or read.
func TestABrowserLedHereByAnotherPageCanDoNothing(t *testing.T) {
	s := newSite(t)
	for _, method := range []string{"GET", "POST", "OPTIONS", "DELETE"} {
		request, err := http.NewRequestWithContext(t.Context(), method, s.url+"/api/v1/jobs", strings.NewReader(`{"labels":["a"],"run":"true"}`))
		require.NoError(t, err)
		request.Header.Set("Origin", "https://evil.example")
		request.Header.Set("Cookie", "token="+s.admin+"; Authorization=Bearer "+s.admin)
		request.Header.Set("Access-Control-Request-Method", "POST")
		request.Header.Set("Access-Control-Request-Headers", "authorization")
		answer, err := s.http.Do(request)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.GreaterOrEqual(t, answer.StatusCode, 400, method)
		for name := range answer.Header {
			require.NotContains(t, name, "Access-Control", method)
		}
	}
}

// Why: whoever says that he comes from everywhere is counted once, and a good token
// is let in whatever others do from its address.
func TestFailedAttemptsAreCountedByTheTrueAddress(t *testing.T) {
	s := newSite(t)
	statuses := map[int]int{}
	for i := range 60 {
		request, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/api/v1/jobs", nil)
		require.NoError(t, err)
		request.Header.Set("X-Forwarded-For", fmt.Sprintf("10.0.0.%d", i))
		request.Header.Set("Forwarded", fmt.Sprintf("for=10.0.1.%d", i))
		request.Header.Set("Authorization", "Bearer sf_adm_wrong")
		answer, err := s.http.Do(request)
		require.NoError(t, err)
		_ = answer.Body.Close()
		statuses[answer.StatusCode]++
	}
	require.Equal(t, 30, statuses[429], "%v", statuses)
	s.must("GET", "/api/v1/jobs", "", nil)
}
