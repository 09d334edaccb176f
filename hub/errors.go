package hub

import "errors"

// Errors of Open.
var (
	// ErrConfig: the configuration is wrong; the text names the field.
	ErrConfig = errors.New("hub: config")
	// ErrListen: an address can't be listened on.
	ErrListen = errors.New("hub: listen")
)
