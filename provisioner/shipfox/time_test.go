package shipfox_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/tokens"
)

// transport answers without a network, so that time can be a bubble's.
type transport func(*http.Request) (status int, body string)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	header := http.Header{}
	status, body := f(r.WithContext(context.WithValue(r.Context(), answered{}, header)))
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if status == 0 { // the answer is lost
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// answered is the key of the header of the answer.
type answered struct{}

// inBubble runs f over a service of generation head that answers as routes say,
// by the end of the path.
func inBubble(t *testing.T, routes map[string]func(*http.Request) (int, string), f func(t *testing.T, c *shipfox.ControlPlane)) {
	synctest.Test(t, func(t *testing.T) {
		c, err := shipfox.New(shipfox.Config{URL: "http://api.example", Token: tokens.New(tokens.Provisioner), Client: &http.Client{Transport: transport(func(r *http.Request) (int, string) {
			for end, answer := range routes {
				if strings.HasSuffix(r.URL.Path, end) {
					return answer(r)
				}
			}
			if r.URL.Path == mintRoute {
				return 404, `{"code":"not-found"}`
			}
			return 200, `{"accepted":1,"runners":[]}`
		})}})
		require.NoError(t, err)
		_, err = c.Generation(t.Context())
		require.NoError(t, err)
		f(t, c)
	})
}

// never is a service that takes a request and does not answer.
func never(r *http.Request) (int, string) {
	<-r.Context().Done()
	return 0, ""
}

// The service may hold a poll for as long as it was asked to; every other answer is
// due in ten seconds.
func TestAPollWaitsItsWaitAndFifteenSeconds(t *testing.T) {
	inBubble(t, map[string]func(*http.Request) (int, string){"/poll": never, "instances/batch": never}, func(t *testing.T, c *shipfox.ControlPlane) {
		for _, wait := range []time.Duration{0, 30 * time.Second} {
			began := time.Now()
			_, err := c.Poll(t.Context(), provisioner.Advertisement{Wait: wait, MaxReservations: 1})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, wait+15*time.Second, time.Since(began))
		}
		began := time.Now()
		_, err := c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Reservation: "v1"}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// A poll that is answered late, but within its limit, is good.
func TestALatePollIsGood(t *testing.T) {
	late := func(*http.Request) (int, string) {
		time.Sleep(44 * time.Second) // a bubble's clock: nothing waits
		return 200, `{"stats":[],"reservations":[{"reservation_id":"v1","labels":["linux"],"count":2}]}`
	}
	inBubble(t, map[string]func(*http.Request) (int, string){"/poll": late}, func(t *testing.T, c *shipfox.ControlPlane) {
		demand, err := c.Poll(t.Context(), provisioner.Advertisement{Wait: 30 * time.Second, MaxReservations: 1})
		require.NoError(t, err)
		require.Equal(t, 2, demand.Grants[0].Count)
	})
}

// The service's times are a date in whole seconds and an end: what they are apart may
// look up to a second longer than was asked for, and a service may give less.
func TestAGrantIsNotToldToLiveLongerThanWasAskedFor(t *testing.T) {
	var expires string
	answer := func(r *http.Request) (int, string) {
		r.Context().Value(answered{}).(http.Header).Set("Date", "Fri, 31 Jul 2026 10:00:00 GMT")
		return 200, `{"stats":[],"reservations":[{"reservation_id":"v1","labels":["linux"],"count":1,"expires_at":"` + expires + `"}]}`
	}
	inBubble(t, map[string]func(*http.Request) (int, string){"/poll": answer}, func(t *testing.T, c *shipfox.ControlPlane) {
		for _, of := range []struct {
			expires     string
			asked, told time.Duration
		}{
			{"2026-07-31T10:00:02.900Z", 2 * time.Second, 2 * time.Second},
			{"2026-07-31T10:00:20.500Z", 2 * time.Minute, 20500 * time.Millisecond},
			{"2026-07-31T10:01:00.500Z", 0, 60500 * time.Millisecond},
		} {
			expires = of.expires
			demand, err := c.Poll(t.Context(), provisioner.Advertisement{MaxReservations: 1, ReservationLifetime: of.asked})
			require.NoError(t, err)
			require.Equal(t, of.told, demand.Grants[0].Lifetime, "asked for %v", of.asked)
		}
	})
}

// What a burst has to tell is bundled by the loop while a report waits its turn; one
// that comes alone goes at once.
func TestReportsOfABurstAreSpaced(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, c *shipfox.ControlPlane) {
		report := func(n int) time.Duration {
			began := time.Now()
			for range n {
				require.NoError(t, c.Report(t.Context(), []provisioner.Event{event("a", provisioner.EventRunning)}))
			}
			return time.Since(began)
		}
		time.Sleep(time.Hour)
		require.Zero(t, report(8))
		require.Equal(t, 10*250*time.Millisecond, report(10))
		time.Sleep(time.Second)
		require.Zero(t, report(4))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.Report(ctx, nil), context.Canceled, "who stops is not kept")
	})
}

// A header that is wrong stops nobody for longer than ten minutes; what is no time at
// all is none.
func TestRetryAfterIsBounded(t *testing.T) {
	for text, rest := range map[string]time.Duration{
		"601": 10 * time.Minute, "99999999999999": 10 * time.Minute, "99999999999999999999999999": 10 * time.Minute,
		"Fri, 31 Dec 9999 23:59:59 GMT": 10 * time.Minute, `{"retry_after_seconds":1e300}`: 10 * time.Minute, `{"retry_after_seconds":0.1}`: time.Second,
		"599": 599 * time.Second, "0": 0, "-5": 0, "-99999999999999999999999999": 0, "soon": 0, "1.5": 0, "Fri, 31 Dec 1999 23:59:59 GMT": 0, `{"retry_after_seconds":-3}`: 0,
	} {
		asked := 0
		limited := func(r *http.Request) (int, string) {
			asked++
			header := r.Context().Value(answered{}).(http.Header)
			header.Set("Date", "Sat, 01 Jan 2000 00:00:00 GMT")
			if strings.HasPrefix(text, "{") {
				return 429, `{"details":` + text + `}`
			}
			header.Set("Retry-After", text)
			return 429, ""
		}
		inBubble(t, map[string]func(*http.Request) (int, string){"/poll": limited}, func(t *testing.T, c *shipfox.ControlPlane) {
			poll := func() int {
				_, err := c.Poll(t.Context(), provisioner.Advertisement{})
				require.ErrorContains(t, err, "429")
				return asked
			}
			require.Equal(t, 1, poll())
			if rest > 0 {
				time.Sleep(rest - time.Nanosecond)
				require.Equal(t, 1, poll(), text)
				time.Sleep(time.Nanosecond)
			}
			require.Equal(t, 2, poll(), text)
		})
	}
}

// The service wants to be left alone for as long as it says, on that route; then it
// is asked again. A date is as good as seconds, and so is the body's word.
func TestRetryAfterEnds(t *testing.T) {
	for name, header := range map[string]http.Header{
		"seconds": {"Retry-After": {"30"}},
		"a date":  {"Retry-After": {"Sat, 01 Jan 2000 00:00:30 GMT"}, "Date": {"Sat, 01 Jan 2000 00:00:00 GMT"}},
		"details": {},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			limited := func(r *http.Request) (int, string) {
				asked++
				maps.Copy(r.Context().Value(answered{}).(http.Header), header)
				if name == "details" {
					return 429, `{"code":"rate-limited","details":{"retry_after_seconds":30}}`
				}
				return 429, `{"code":"rate-limited"}`
			}
			inBubble(t, map[string]func(*http.Request) (int, string){"instances/batch": limited}, func(t *testing.T, c *shipfox.ControlPlane) {
				mint := func() {
					_, err := c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Reservation: "v1"}})
					require.ErrorContains(t, err, "rate-limited")
				}
				mint()
				time.Sleep(29 * time.Second)
				mint()
				require.Equal(t, 1, asked)
				require.NoError(t, c.Report(t.Context(), []provisioner.Event{event("a", provisioner.EventRunning)}), "other routes are open")
				time.Sleep(2 * time.Second)
				mint()
				require.Equal(t, 2, asked)
			})
		})
	}
}

// What changes nothing is asked again, up to three times; what might is asked once.
func TestOnlyAGetIsRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		statuses []int
		asked    int
		after    time.Duration
		good     bool
	}{
		"it is back":         {[]int{503, 500, 200}, 3, 900 * time.Millisecond, true},
		"limited for once":   {[]int{429, 200}, 2, 300 * time.Millisecond, true},
		"it stays away":      {[]int{502, 502, 502, 200}, 3, 900 * time.Millisecond, false},
		"a refusal is final": {[]int{401, 200}, 1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			me := func(*http.Request) (int, string) {
				asked++
				return c.statuses[asked-1], `{"id":"p1","scope":"workspace","workspace_id":"w1"}`
			}
			inBubble(t, map[string]func(*http.Request) (int, string){"/me": me}, func(t *testing.T, control *shipfox.ControlPlane) {
				began := time.Now()
				_, err := control.Identify(t.Context())
				require.Equal(t, c.good, err == nil, "%v", err)
				require.Equal(t, c.asked, asked)
				require.Equal(t, c.after, time.Since(began))
			})
		})
	}
	asked := 0
	hurt := func(*http.Request) (int, string) {
		asked++
		return 503, `{"code":"server-error"}`
	}
	inBubble(t, map[string]func(*http.Request) (int, string){"instances/batch": hurt, "/poll": hurt, "/report": hurt}, func(t *testing.T, c *shipfox.ControlPlane) {
		_, err := c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Reservation: "v1"}})
		require.Error(t, err)
		_, err = c.Poll(t.Context(), provisioner.Advertisement{})
		require.Error(t, err)
		require.Error(t, c.Report(t.Context(), []provisioner.Event{event("a", provisioner.EventRunning)}))
		require.Equal(t, 3, asked, "once each: the loop is what tries again")
	})
}
