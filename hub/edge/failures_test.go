package edge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/edge"
)

// gate lets in who is good, and tells the others so in a body of its own.
func gate(cfg edge.Config) func(client, credential string) *httptest.ResponseRecorder {
	handler := edge.New(cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "good" {
			_, _ = w.Write([]byte("welcome"))
			return
		}
		w.Header().Set("Content-Length", "4")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("away"))
	}))
	return func(client, credential string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/runners/register", nil)
		r.RemoteAddr = "192.0.2.1:1"
		r.Header.Set("X-Forwarded-For", client)
		r.Header.Set("Authorization", credential)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
}

var behindProxy = edge.Config{Failures: 5, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}

// Why: whoever guesses credentials must not be able to for ever, and 200 runners that
// start behind one address must start, whatever else comes from there.
func TestFailedAttemptsAreLimitedAndGoodOnesNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := gate(behindProxy)
		for range 5 {
			require.Equal(t, http.StatusUnauthorized, ask("203.0.113.7", "bad").Code)
			require.Equal(t, "away", ask("203.0.113.8", "bad").Body.String(), "the handler's own words")
		}
		time.Sleep(20 * time.Second)
		w := ask("203.0.113.7", "bad")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "41", w.Header().Get("Retry-After"))
		require.Empty(t, w.Header().Get("Content-Length"))
		var body struct {
			Type      string
			RequestID string `json:"request_id"`
			Code      string
			Details   struct {
				Seconds int `json:"retry_after_seconds"`
			}
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body.String())
		require.Equal(t, "urn:slipway:problem:too-many-failures", body.Type)
		require.Equal(t, w.Header().Get("X-Request-Id"), body.RequestID)
		require.Equal(t, "rate-limited", body.Code, "as the Shipfox API says it")
		require.Equal(t, 41, body.Details.Seconds)
		for range 200 {
			require.Equal(t, http.StatusOK, ask("203.0.113.7", "good").Code)
		}
		require.Equal(t, http.StatusUnauthorized, ask("203.0.113.9", "bad").Code, "a neighbour behind the same proxy did nothing")
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusUnauthorized, ask("203.0.113.7", "bad").Code)
	})
}

// Of IPv6 it is a whole /64, which everybody has.
func TestFailuresAreCountedByNetwork(t *testing.T) {
	now := time.Now()
	f := edge.NewFailures(2)
	for _, addresses := range [][]string{
		{"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"}, {"192.0.2.1", "192.0.2.1", "192.0.2.1"}, {"::ffff:192.0.2.9", "::ffff:192.0.2.9", "::ffff:192.0.2.9"},
	} {
		for i, address := range addresses {
			require.Equal(t, i < 2, f.Add(address, now) == 0, address)
		}
	}
	for _, other := range []string{"2001:db8:0:1::1", "192.0.2.2", "::ffff:192.0.2.8"} {
		require.Zero(t, f.Add(other, now), other)
	}
}
