package shipfox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/provisioner"
)

// LabelInstance is the label that holds the service's own id of a runner (head).
const LabelInstance = "runner-instance-id"

// ControlPlane is the client. Make it with New; it may be used from many
// goroutines at once.
type ControlPlane struct {
	config     Config
	client     *client
	log        hclog.Logger
	generation atomic.Value // Generation; empty: to be found out
	workspace  atomic.Value // string: the token's own workspace, once it is known

	mu         sync.Mutex
	observed   []string             // the ids of the last Facts, and of runners told of since, for Retire: never a subset
	unreported bool                 // the last report was not accepted
	registered map[string]bool      // runners that are known to be registered
	told       map[string]time.Time // runners of which the service took an attach or a report, and of when the newest was

	reports pace
}

var (
	_ provisioner.ControlPlane = (*ControlPlane)(nil)
	_ provisioner.Announcer    = (*ControlPlane)(nil)
	_ provisioner.Knower       = (*ControlPlane)(nil)
	_ provisioner.Retirer      = (*ControlPlane)(nil)
)

// New makes a client. It asks nothing yet.
func New(config Config) (*ControlPlane, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &ControlPlane{
		config: config, log: config.Logger, registered: map[string]bool{}, told: map[string]time.Time{},
		client: &client{http: config.Client, base: base(config.URL), token: config.Token, quiet: map[string]quiet{}},
	}, nil
}

// Identify asks who the token is, and finds out the generation.
func (c *ControlPlane) Identify(ctx context.Context) (provisioner.Identity, error) {
	var me struct {
		ID        string `json:"id"`
		Scope     string `json:"scope"`
		Workspace string `json:"workspace_id"`
	}
	if err := c.client.get(ctx, routeMe, &me); err != nil {
		return provisioner.Identity{}, err
	}
	if me.ID == "" {
		return provisioner.Identity{}, fmt.Errorf("shipfox: GET %s: the answer has no id: is this the Shipfox API?", routeMe)
	}
	if me.Scope == "" { // before scopes there were workspaces alone
		me.Scope = "workspace"
	}
	if _, err := c.Generation(ctx); err != nil {
		return provisioner.Identity{}, err
	}
	c.workspace.Store(me.Workspace)
	return provisioner.Identity{ID: me.ID, Scope: me.Scope, Workspace: me.Workspace}, nil
}
