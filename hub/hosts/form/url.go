package form

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// plainURL has nothing in it that a shell, or curl's globbing, might take for its
// own: it stands in a line that people run as root.
var plainURL = regexp.MustCompile(`^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$`)

// PublicURL says whether a hub may have this URL as its own, where hosts reach it, and
// cuts the slash at its end. Empty is allowed, and stays so: no host can be enrolled
// then. insecure allows plain HTTP beyond this machine.
func PublicURL(text string, insecure bool) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || !plainURL.MatchString(text) || strings.Contains(u.Path, "//") || strings.Contains(u.Path, ".."):
		return "", errors.New("is no plain URL: https://, a host, and where needed a port and a path are allowed")
	case u.Scheme == "http" && !insecure && !loopback(u.Hostname()):
		return "", errors.New("is http beyond this machine: whoever is in between would hold every host that is added; https is needed, or --insecure-http")
	}
	return strings.TrimRight(text, "/"), nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
