package wire

import "time"

// The limits of the protocol. Who sends more is cut off.
const (
	// MaxFrame is how many bytes one frame may have.
	MaxFrame = 1 << 20
	// MaxHello is the same for the first frame, sent by who is not known yet.
	MaxHello = 64 << 10
	// MaxRunner is how many bytes the labels and texts of one runner may have.
	MaxRunner = 64 << 10
	// MaxList is how many runners, and ids, one frame may hold.
	MaxList = 1000
	// MaxText is how long one text for people may be; longer ones are clipped by
	// the sender.
	MaxText = 4 << 10
	// MaxID is how long an id may be.
	MaxID = 128
	// MaxChunk is how many bytes of a log one chunk holds.
	MaxChunk = 48 << 10
	// MaxLog is how many bytes of a log one request gives: the last ones.
	MaxLog = 4 << 20

	// MaxCredential is how many bytes the user of a registry may have, all in all.
	MaxCredential = 16 << 10
	// MaxSpec is how many bytes a spec may have as it is sent: what the hub adds to
	// it (a credential, a host's devices and labels) fits beside it.
	MaxSpec = MaxFrame - 160<<10
	// MaxGPUs is how many devices a host may tell of.
	MaxGPUs = 64

	// MaxRuntimes is how many runtimes a host may tell of, MaxHints how many hints,
	// and MaxHint how many bytes one of them should have.
	MaxRuntimes = 64
	MaxHints    = 64
	MaxHint     = 256
	// MaxUsage is the most of a number that says how busy a host is.
	MaxUsage = 1 << 24

	// MaxCPUs is how many CPUs a host may tell of.
	MaxCPUs = 1 << 16
)

// Times of the protocol.
const (
	// DefaultHeartbeat is inside the idle limit of common proxies (60 s and more).
	DefaultHeartbeat = 15 * time.Second
	// HelloTimeout bounds the first frame of each side.
	HelloTimeout = 10 * time.Second
	// MaxTimeout is the longest that a request may ask for.
	MaxTimeout = time.Hour
)

// LabelMaxLifetime is the runner's label that holds how long it may live, in
// time.Duration's form. It is the provisioner's.
const LabelMaxLifetime = "max-lifetime"
