package install

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/tokens"
)

// Invited is what an enrolment says of its host.
type Invited struct {
	// Host is its name.
	Host string
	// Isolated asks for a runtime that isolates: sysbox-runc.
	Isolated bool
}

// Inviter tells whom an enrolment is for. It consumes nothing; its errors are
// ErrUnknown, ErrSpent and ErrExpired, and any other where it can't tell.
type Inviter interface {
	Invited(ctx context.Context, enrolment tokens.Token) (Invited, error)
}

// InviterFunc is a function that is an Inviter.
type InviterFunc func(ctx context.Context, enrolment tokens.Token) (Invited, error)

// Invited calls f.
func (f InviterFunc) Invited(ctx context.Context, enrolment tokens.Token) (Invited, error) {
	return f(ctx, enrolment)
}

// Config is what New needs.
type Config struct {
	// Hosts knows the enrolments. Required.
	Hosts Inviter
	// PublicURL is where hosts reach this hub: http or https, no query. It is the
	// only source of URLs in a script. Empty: no script is given, and it says so.
	PublicURL string
	// AgentsDir holds the programs, slipway-agent-<os>-<arch>, each with its
	// .manifest, and update-key.pub. Empty, or without one for this platform: a
	// slipway-agent beside the hub's own program is served for it, without manifest.
	AgentsDir string
	// Sysbox says where sysbox-runc comes from; nil: DefaultSysbox.
	Sysbox SysboxTable
	// Logger; nil discards.
	Logger hclog.Logger

	// beside is the folder of the hub's own program.
	beside string
	// version is what the program beside is called.
	version string
	// name and root are what the script calls everything, and the folder below
	// which it puts it; other than by default in tests alone.
	name, root string
}

func (c Config) withDefaults() Config {
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	if c.Sysbox == nil {
		c.Sysbox = DefaultSysbox()
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.beside == "" {
		if program, err := os.Executable(); err == nil {
			c.beside = filepath.Dir(program)
		}
	}
	if c.version == "" {
		c.version = version.String()
	}
	if c.name == "" {
		c.name = "slipway-agent"
	}
	return c
}

// publicURL is what may stand in a script, besides being a URL.
var publicURL = regexp.MustCompile(`^https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?$`)

func (c Config) validate() error {
	if c.Hosts == nil {
		return fmt.Errorf("%w: Hosts is nil", ErrConfig)
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || !publicURL.MatchString(c.PublicURL) {
			return fmt.Errorf("%w: PublicURL is %q: an http or https URL without user and query is needed", ErrConfig, c.PublicURL)
		}
	}
	return c.Sysbox.validate()
}

// insecure says whether hosts reach the hub over a network without encryption.
func (c Config) insecure() bool {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !addr.Unmap().IsLoopback())
}

// own says whether a platform is the hub's own.
func own(goos, arch string) bool { return goos == runtime.GOOS && arch == runtime.GOARCH }
