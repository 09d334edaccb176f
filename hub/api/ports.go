package api

import (
	"context"
	"io"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/scalesets"
)

// Hosts is what the API needs of a *hosts.Registry.
type Hosts interface {
	Add(ctx context.Context, spec hosts.HostSpec) (hosts.Host, hosts.Invitation, error)
	Reenrol(ctx context.Context, nameOrID string, spec hosts.ReenrolSpec) (hosts.Host, hosts.Invitation, error)
	Host(ctx context.Context, nameOrID string) (hosts.Host, error)
	Hosts(ctx context.Context, filter hosts.Filter) (list []hosts.Host, next string, err error)
	Edit(ctx context.Context, nameOrID string, ifVersion int64, change hosts.Change) (hosts.Host, error)
	Remove(ctx context.Context, nameOrID string, ifVersion int64, force bool) error

	Cordon(ctx context.Context, nameOrID string) (hosts.Host, error)
	Uncordon(ctx context.Context, nameOrID string) (hosts.Host, error)
	Drain(ctx context.Context, nameOrID string, deadline time.Duration) (hosts.Host, error)
	RotateToken(ctx context.Context, nameOrID string) error
	Revoke(ctx context.Context, nameOrID string) error
	Update(ctx context.Context, names []string, spec hosts.UpdateSpec) error

	Enrolments(ctx context.Context, page hosts.Page) (list []hosts.Enrolment, next string, err error)
	CancelEnrolment(ctx context.Context, id string) error
}

// ScaleSets is what the API needs of a *scalesets.Registry.
type ScaleSets interface {
	Create(ctx context.Context, name string, d scalesets.Document) (scalesets.ScaleSet, error)
	Put(ctx context.Context, name string, ifVersion int64, d scalesets.Document) (scalesets.ScaleSet, error)
	Delete(ctx context.Context, name string, ifVersion int64) error
	Get(ctx context.Context, name string) (scalesets.ScaleSet, error)
	List(ctx context.Context, filter scalesets.Filter) (sets []scalesets.ScaleSet, next string, err error)
	Document(ctx context.Context, set scalesets.ScaleSet) (scalesets.Document, error)
	Apply(ctx context.Context, yaml []byte, o scalesets.ApplyOptions) (scalesets.Diff, error)
	Export(ctx context.Context) ([]byte, error)

	Credentials(ctx context.Context) ([]scalesets.RegistryCredential, error)
	SetCredential(ctx context.Context, name string, spec scalesets.CredentialSpec) (scalesets.RegistryCredential, error)
	DeleteCredential(ctx context.Context, name string) error
}

// Fleet is what the API needs of a *fleet.Fleet.
type Fleet interface {
	// Hosts tells how all hosts do, Host how one does.
	Hosts() []fleet.HostState
	Host(id string) (st fleet.HostState, known bool)
	// Runner is one runner, and the id of its host.
	Runner(ctx context.Context, id string) (r backend.Runner, host string, ok bool)
	// Page is a part of the runners, the newest first.
	Page(ctx context.Context, filter fleet.RunnerFilter) (page []fleet.PlacedRunner, more bool, err error)
	// CountByTemplate counts the runners of each scale set by their state.
	CountByTemplate(ctx context.Context) (map[string]map[backend.State]int, error)
	// Logs is backend.Logger's.
	Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error)
	// Explain tells of each host whether it can get a runner of a template.
	Explain(template string) []fleet.Verdict
}

// Terminator ends runners: the loops that launch them.
type Terminator interface {
	// Terminate asks for the end of runners. It may be repeated, and does not wait.
	Terminate(runners []string, reason string)
}

var (
	_ Hosts     = (*hosts.Registry)(nil)
	_ ScaleSets = (*scalesets.Registry)(nil)
	_ Fleet     = (*fleet.Fleet)(nil)
)
