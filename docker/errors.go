package docker

import "errors"

var (
	// ErrClosed is what a Backend answers with after Close.
	ErrClosed = errors.New("docker: closed")
	// ErrNetworkHeld: nothing uses the owner's network, and the engine does not
	// let go of it. It has miscounted, and counts anew when it is restarted.
	// Source: github.com/moby/moby/issues/42119.
	ErrNetworkHeld = errors.New("docker: the engine holds on to a network that nothing uses; restart the engine to be rid of it")
)
