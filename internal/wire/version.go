package wire

// Protocol is the newest version of the protocol that this build speaks.
const Protocol = 1

// Subprotocol is the WebSocket subprotocol (RFC 6455, section 1.9) of every
// version: the version itself is agreed on in hello and welcome.
const Subprotocol = "slipway-agent"

// Path is where a hub takes the connections of agents.
const Path = "/api/v1/agent/connect"

// Agree returns the version that two ends speak, the older of their newest, and
// false where they are more than one apart: then they only stay connected.
func Agree(ours, theirs int) (version int, ok bool) {
	apart := ours - theirs
	return min(ours, theirs), apart >= -1 && apart <= 1
}
