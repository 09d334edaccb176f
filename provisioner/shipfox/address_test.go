package shipfox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// A redirect is no answer: a POST would become a GET, and what answers there is not
// known to be the service. The error says what to do, and nothing that is secret.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for location, want := range map[string]string{
		"https://new.example%s":                      "a redirect to https://new.example%s, which is not followed: set SHIPFOX_API_URL to https://new.example",
		"https://new.example/prefix%s":               "set SHIPFOX_API_URL to https://new.example/prefix",
		"https://who:hunter2@new.example%s?key=k1#f": "set SHIPFOX_API_URL to https://new.example",
		"https://login.example/?back=%s":             "a redirect to https://login.example/, which is not followed: set SHIPFOX_API_URL to the address of the API itself",
		"/elsewhere":                                 "a redirect to http://api.example/elsewhere, which is not followed",
		"":                                           "a redirect to nowhere",
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			followed := 0
			moved := func(r *http.Request) (int, string) {
				if r.URL.Host != "api.example" || r.URL.Path == "/elsewhere" {
					followed++
					return 200, `{"accepted":1,"attached":true,"id":"p1"}`
				}
				header := r.Context().Value(answered{}).(http.Header)
				if header.Set("Location", strings.ReplaceAll(location, "%s", r.URL.Path)); location == "" {
					header.Del("Location")
				}
				return status, ""
			}
			routes := map[string]func(*http.Request) (int, string){"/elsewhere": moved}
			for _, end := range []string{"/me", "/poll", "/report", "instances/batch", "/provider-runner"} {
				routes[end] = moved
			}
			inBubble(t, routes, func(t *testing.T, c *shipfox.ControlPlane) {
				_, err := c.Identify(t.Context())
				check := func(path string, err error) {
					t.Helper()
					require.ErrorContains(t, err, path+fmt.Sprintf(": %d: ", status))
					require.ErrorContains(t, err, strings.ReplaceAll(want, "%s", path))
					require.NotContains(t, err.Error(), "hunter2")
					require.NotContains(t, err.Error(), "k1")
					require.NotErrorIs(t, err, provisioner.ErrRejected)
					require.NotErrorIs(t, err, provisioner.ErrRefused)
					require.NotContains(t, err.Error(), "\n")
				}
				check("/provisioners/me", err)
				_, err = c.Poll(t.Context(), provisioner.Advertisement{})
				check("/provisioners/demand/poll", err)
				check(ertReport, c.Report(t.Context(), []provisioner.Event{event("a", provisioner.EventStopped)}))
				_, err = c.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r3", Reservation: "v1"}})
				check(batchRoute, err)
				err = c.Announce(t.Context(), ref("r1", "i1", "v1"))
				require.ErrorContains(t, err, "{runner_instance_id}/provider-runner: "+fmt.Sprint(status))
				require.ErrorContains(t, err, strings.ReplaceAll(want, "%s", attachRoute))
				require.Zero(t, followed)
			})
		}
	}
}

// An address is refused that no route can be appended to, or that holds a secret, and
// that is not shown.
func TestCheckURL(t *testing.T) {
	for _, good := range []string{"http://h", "https://h:1/prefix/", "http://[::1]:8080", "http://h/a@b"} {
		require.NoError(t, shipfox.CheckURL(good))
	}
	require.Error(t, shipfox.CheckURL(""))
	for bad, shown := range map[string]string{
		"h": "h", "ftp://h": "ftp://h", "http://": "http://", "http://:80": "http://:80", "http://h:0": "http://h:0", "http://h:70000": "http://h:70000",
		"http://h/?key=hunter2": "http://h/?…", "http://h?": "http://h?…", "http://h/#hunter2": "http://h/#…",
		"https://user:hunter2@h/": "https://…@h/", "https://hunter2@h": "https://…@h", "https://user:hunter2@h:x/": "https://…@h:x/",
		"https://u:hun@ter2@h": "https://…@h", "https://u:hun?ter2@h": "https://…@h", "u:hunter2@h": "…://…@h", "u:hunter2://x@h": "…://…@h",
	} {
		require.EqualError(t, shipfox.CheckURL(bad), fmt.Sprintf("is %q: an http or https address is needed, without user info, query and fragment", shown))
		_, err := shipfox.New(shipfox.Config{URL: bad, RunnerURL: bad})
		require.ErrorContains(t, err, "shipfox: RunnerURL is")
		require.ErrorContains(t, err, "shipfox: URL is")
		require.NotContains(t, err.Error(), "hunter2")
	}
}
