package update

import (
	"cmp"
	"net/http"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/version"
)

// Config is what New needs.
type Config struct {
	// Folder is the agent's data folder. Required.
	Folder *identity.Folder
	// Hub is the URL of the agent's own hub, from which alone is fetched.
	Hub string
	// Client fetches; nil: one with the system's defaults. It follows no redirects.
	Client *http.Client
	// Executable is the program that runs. Default: found out.
	Executable string
	// Version is that of the program that runs; default the build's own.
	Version string
	// OS and Arch are in Go's words; default this program's.
	OS, Arch string
	// Allowed says whether this host takes updates; nil: it does.
	Allowed func() bool
	// Deadline is how long a new version has until the hub must have welcomed it;
	// default 2 min.
	Deadline time.Duration
	// Starts is how often a new version may begin until then; default 3.
	Starts int
	// Limit is how many bytes a program may have; default 256 MiB.
	Limit int64
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	c.Version = cmp.Or(c.Version, version.String())
	c.OS, c.Arch = cmp.Or(c.OS, runtime.GOOS), cmp.Or(c.Arch, runtime.GOARCH)
	c.Deadline = cmp.Or(c.Deadline, 2*time.Minute)
	c.Starts = cmp.Or(c.Starts, 3)
	c.Limit = cmp.Or(c.Limit, 256<<20)
	if c.Allowed == nil {
		c.Allowed = func() bool { return true }
	}
	client := http.Client{}
	if c.Client != nil {
		client = *c.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Client = &client
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}
