package fleet

import (
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/sight"
	"github.com/slipway-ci/slipway/internal/wire"
)

var (
	// ErrConfig: a Config can't be used; the text names the field.
	ErrConfig = errors.New("fleet: config")
	// ErrOffline: the runner's host can't be reached now. A Remove that says so is
	// remembered and done when the host returns.
	ErrOffline = errors.New("fleet: host offline")
	// ErrLost: the runner's host has been away for too long. Remove does nothing.
	ErrLost = errors.New("fleet: host lost")
	// ErrUnknownHost: there is no such host.
	ErrUnknownHost = errors.New("fleet: unknown host")
	// ErrBusyHost: a host that is online or has runners can't be forgotten, unless
	// by force.
	ErrBusyHost = errors.New("fleet: host is online or has runners")
	// ErrRefused is Config.Authenticate's: the credential is not valid.
	ErrRefused = errors.New("fleet: credential refused")
	// ErrRevoked and ErrReplaced are for SendAway: why the credential of an agent is over.
	ErrRevoked        = errors.New("fleet: the host's token was revoked: its machine is let in when it is enrolled anew (slipway hosts reenrol)")
	ErrReplaced error = replaced{}
	// ErrRemoved is Config.Authenticate's: the credential was that of a host that
	// was removed for good. Its agent is told so.
	ErrRemoved = errors.New("fleet: host removed")
)

// replaced has its agent come back at once, as after a rotation: the new credential may
// be its own.
type replaced struct{}

func (replaced) Error() string {
	return "fleet: the host was enrolled anew, and its former token is over: a machine that is not meant any more is to be enrolled as another host"
}

func (replaced) Is(target error) bool { return target == wire.ErrRotated }

// HostLost is the error of runners whose host has been away for too long.
const HostLost = sight.HostLost

// errNotSent: a request never left the hub.
var errNotSent = fmt.Errorf("%w: the request did not leave", backend.ErrUnavailable)
