package scalesets

import (
	"slices"
	"strings"
)

// dockerHub is the registry of images that name none.
const dockerHub = "docker.io"

// hubAliases are other names that Docker Hub is given, by itself or by people.
var hubAliases = []string{"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com", "docker.com", "www.docker.com"}

// canonicalRegistry is a registry's host, maybe with a port, as images name it:
// without scheme and path, in lower case, Docker Hub under one name. ok is false
// where it is none.
func canonicalRegistry(text string) (host string, ok bool) {
	host = strings.ToLower(strings.TrimSpace(text))
	if _, rest, found := strings.Cut(host, "://"); found {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	if slices.Contains(hubAliases, host) {
		host = dockerHub
	}
	name, port, hasPort := strings.Cut(host, ":")
	ok = len(host) <= 255 && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" &&
		name[0] != '-' && name[0] != '.' && (!hasPort || port != "" && len(port) <= 5 && strings.Trim(port, "0123456789") == "")
	return host, ok
}

// imageRegistry is the canonical registry of an image's reference: what stands before
// the first slash, where that looks like a host (as distribution/reference has it),
// else Docker Hub.
func imageRegistry(image string) string {
	first, _, found := strings.Cut(strings.TrimSpace(image), "/")
	if !found || first != "localhost" && !strings.ContainsAny(first, ".:") && strings.ToLower(first) == first {
		return dockerHub
	}
	host, ok := canonicalRegistry(first)
	if !ok {
		return "" // no credential is for it
	}
	return host
}
