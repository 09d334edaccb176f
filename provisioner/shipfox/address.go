package shipfox

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// CheckURL says what is wrong with the base address of an API: http or https, with
// a host, and without user info, query and fragment. What may be secret in the
// text is no part of the error.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && goodPort(u.Port()) && u.User == nil && !strings.ContainsAny(text, "?#") {
		return nil
	}
	return fmt.Errorf("is %q: an http or https address is needed, without user info, query and fragment", shown(text))
}

func goodPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// shown is an address without what stands before its host, and without its query.
func shown(text string) string {
	if at := strings.LastIndex(text, "@"); at >= 0 {
		scheme, _, ok := strings.Cut(text[:at], "://")
		if !ok || scheme != "http" && scheme != "https" {
			scheme = "…"
		}
		text = scheme + "://…" + text[at:]
	}
	if at := strings.IndexAny(text, "?#"); at >= 0 {
		text = text[:at+1] + "…"
	}
	return text
}

// base is the URL that routes are appended to, without a slash at the end.
func base(text string) string { return strings.TrimRight(text, "/") }

// pointsTo says where a redirect leads, and what to do about it. It is not followed:
// that would make a GET of a POST, and count as the service whatever answers there.
func pointsTo(res *http.Response, path string) string {
	to, err := res.Location()
	if err != nil {
		return "a redirect to nowhere: is SHIPFOX_API_URL the address of the API?"
	}
	place := url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path, RawPath: to.RawPath}
	if root, ok := strings.CutSuffix(place.String(), path); ok && CheckURL(root) == nil {
		return fmt.Sprintf("a redirect to %s, which is not followed: set SHIPFOX_API_URL to %s", place.String(), root)
	}
	return fmt.Sprintf("a redirect to %s, which is not followed: set SHIPFOX_API_URL to the address of the API itself", place.String())
}
