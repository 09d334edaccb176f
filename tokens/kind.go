package tokens

// Kind says what a token is for. It stands in the token's text, so that a wrong
// one is refused before anything is looked up.
type Kind string

// The kinds. Those of the Shipfox API keep its names. The values are part of
// every token: add at the end only.
const (
	// Provisioner lets a provisioner poll, mint and report.
	Provisioner Kind = "pt"
	// ManualRegistration registers many runners until it is revoked.
	ManualRegistration Kind = "mrt"
	// EphemeralRegistration registers one runner, once, soon.
	EphemeralRegistration Kind = "ert"
	// Bootstrap is exchanged, once, for a ControlSession.
	Bootstrap Kind = "rbt"
	// ControlSession is what a runner waits for its assignment with.
	ControlSession Kind = "rcs"
	// Activation registers one assigned runner, once.
	Activation Kind = "rat"

	// Admin may do everything on a hub.
	Admin Kind = "adm"
	// Enrolment adds one host to a hub, once, soon.
	Enrolment Kind = "het"
	// Agent is a host's own long-lived credential.
	Agent Kind = "agt"
	// API is for people and programs, with a role: admin, operator or viewer.
	API Kind = "api"
)

var kinds = map[Kind]bool{
	Provisioner: true, ManualRegistration: true, EphemeralRegistration: true, Bootstrap: true,
	ControlSession: true, Activation: true, Admin: true, Enrolment: true, Agent: true, API: true,
}
