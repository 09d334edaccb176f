package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
	"github.com/slipway-ci/slipway/docker/internal/images"
	"github.com/slipway-ci/slipway/docker/internal/request"
)

var (
	_ backend.Backend  = (*Backend)(nil)
	_ backend.Watcher  = (*Backend)(nil)
	_ backend.Preparer = (*Backend)(nil)
	_ backend.Logger   = (*Backend)(nil)
)

// Backend runs each runner as a container of one Docker engine. Its methods may
// be called from many goroutines at once.
type Backend struct {
	config  Config
	address address
	client  *client.Client
	log     hclog.Logger

	negotiated atomic.Bool
	ids        idLocks
	images     *images.Images
	settings   request.Settings
	networks   singleflight.Group
	networkUp  atomic.Bool
	details    details
	stopping   stopping
	admissions admissions
	launches   atomic.Int64 // between their create and the answer to their start

	work work
	// hash stands for the owner where its text does not fit: in the names of the
	// network and of volumes.
	hash string
}

// New makes a Backend. It sends nothing: an engine that is not there shows with
// the first call.
func New(c Config) (*Backend, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	a := resolve(c)
	engine, err := connect(a)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(a.host, "tcp://") && a.certPath == "" {
		c.Logger.Warn("the engine is reached without TLS: whoever reaches it too is root there", "host", a.host)
	}
	sum := sha256.Sum256([]byte(c.Owner))
	b := &Backend{
		config: c, address: a, client: engine, log: c.Logger.Named("docker"),
		work: work{closing: make(chan struct{})}, hash: hex.EncodeToString(sum[:6]),
	}
	b.images = images.New(images.Config{
		Client: engine, Dir: c.ConfigDir, Timeout: c.PullTimeout, Window: c.PullWindow, Logger: b.log,
		Background: func(ctx context.Context, f func(context.Context)) error { return b.work.begin(ctx, 0, f) },
	})
	b.settings = b.requestSettings()
	return b, nil
}

// Close ends pulls and closes the connections. Runners stay as they are. No
// method may be called after it.
func (b *Backend) Close() error {
	b.work.close()
	return b.client.Close()
}

// ready makes sure that the engine answers and that the API version is agreed
// upon, so that the call after it is one request and no more.
func (b *Backend) ready(ctx context.Context) error {
	if b.negotiated.Load() {
		return nil
	}
	ping, err := b.client.Ping(ctx)
	if err != nil {
		return fmt.Errorf("reach the engine at %s: %w", b.address.host, fault.Of(ctx, err))
	}
	b.client.NegotiateAPIVersionPing(ping)
	b.negotiated.Store(true)
	return nil
}

// name is the container's.
func (b *Backend) name(id string) string {
	if b.config.PlainNames {
		return id
	}
	return b.config.NamePrefix + id
}

// decode reads the labels of a runner of ours, or of one that we adopt.
func (b *Backend) decode(labels map[string]string) (id string, out map[string]string, ok bool) {
	for _, owner := range append([]string{b.config.Owner}, b.config.AdoptOwners...) {
		if id, out, ok = b.config.Schema.decode(owner, labels); ok {
			return id, out, true
		}
	}
	return "", nil, false
}

// canonical says whether id has the one form that ids have.
func canonical(id string) bool {
	parsed, err := uuid.Parse(id)
	return err == nil && parsed.String() == id
}

// errNotOurs: something has the name of our runner, and is none of our owner's.
var errNotOurs = errors.New("its name is taken by a container that is not a runner of ours")

// find looks for the container of a runner. The error is one of the client's
// (see cerrdefs.IsNotFound), or errNotOurs.
func (b *Backend) find(ctx context.Context, id string) (container.InspectResponse, error) {
	c, err := b.client.ContainerInspect(ctx, b.name(id))
	if err != nil {
		return c, err
	}
	// The engine also finds a container whose own id begins with that text.
	if c.Name != "/"+b.name(id) || c.Config == nil || c.State == nil {
		return c, errNotOurs
	}
	if held, _, ok := b.decode(c.Config.Labels); !ok || held != id {
		return c, errNotOurs
	}
	return c, nil
}

// gone says that find found no runner of ours.
func gone(err error) bool { return cerrdefs.IsNotFound(err) || errors.Is(err, errNotOurs) }
