package fault

import (
	"fmt"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// Words of engines from 20.10 to 28, as they answered.
func TestEngineWords(t *testing.T) {
	internal := func(text string) error {
		return fmt.Errorf("%w: Error response from daemon: %s", cerrdefs.ErrInternal, text)
	}
	for text, want := range map[string]error{
		`could not select device driver "" with capabilities: [[gpu]]`:                                       backend.ErrInvalid,
		`OCI runtime create failed: runc create failed: exec: "/x": stat /x: no such file or directory`:      backend.ErrInvalid,
		`unable to find user x: no matching entries in passwd file`:                                          backend.ErrInvalid,
		`could not find an available, non-overlapping IPv4 address pool among the defaults`:                  backend.ErrExhausted,
		`all predefined address pools have been fully subnetted`:                                             backend.ErrExhausted,
		`failed to set up container networking: no available IPv4 addresses on this network's address pools`: backend.ErrExhausted,
		`mkdir /var/lib/docker/overlay2/x: no space left on device`:                                          backend.ErrExhausted,
		`OCI runtime create failed: fork/exec: resource temporarily unavailable`:                             backend.ErrExhausted,
		`toomanyrequests: You have reached your pull rate limit`:                                             backend.ErrExhausted,
		`manifest for x:y not found: manifest unknown`:                                                       backend.ErrInvalid,
		`pull access denied for x, repository does not exist or may require 'docker login'`:                  backend.ErrInvalid,
		`Get "https://registry.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused`:            backend.ErrUnavailable,
		`something new`: backend.ErrUnavailable,
	} {
		err := Answer(internal(text))
		require.ErrorIs(t, err, want, text)
		require.ErrorContains(t, err, text, "the engine's own words")
	}
	require.ErrorIs(t, Answer(fmt.Errorf("%w: authorization denied by plugin", cerrdefs.ErrPermissionDenied)), backend.ErrRefused)
	require.False(t, Answered(fmt.Errorf("%w: bad gateway", cerrdefs.ErrUnavailable)), "a proxy's answer is not the engine's")
}
