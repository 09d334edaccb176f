package agent

import (
	"errors"

	"github.com/slipway-ci/slipway/internal/wire"
)

var (
	// ErrConfig: a Config can't be used; the text names the field.
	ErrConfig = errors.New("agent: config")
	// ErrUnauthorized: the hub refuses the token. It may accept it again later.
	ErrUnauthorized = errors.New("agent: token refused by the hub")
	// ErrNoHub: what answered is no hub of this protocol.
	ErrNoHub = errors.New("agent: not a hub")
)

const path = wire.Path
