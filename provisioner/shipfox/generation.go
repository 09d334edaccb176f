package shipfox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/template"
)

// Generation is one form of the API.
type Generation string

// The generations, newest first.
const (
	Head Generation = "head"
	Ert  Generation = "ert"
	Pr   Generation = "pr"
)

// names are what a generation calls things.
type names struct {
	report, reconcile  string // routes
	announce           string // the route that tells of a runner before its launch
	id, ids            string // a runner's id, and the list of them in a mint
	observed           string // the list of ids in a reconcile
	maxTemplates       int
	takesReservationID bool // events carry the reservation
}

var generations = map[Generation]names{
	Head: {
		report: "/provisioners/runner-instances/report", reconcile: "/provisioners/runner-instances/reconcile", announce: routeAttach,
		id: "provider_runner_id", ids: "runner_instances", observed: "observed_provider_runner_ids", maxTemplates: maxTemplatesHead,
	},
	Ert: {
		report: "/provisioners/runner-instances/report", reconcile: "/provisioners/runner-instances/reconcile", announce: "/provisioners/runner-instances/report",
		id: "provider_runner_id", ids: "runner_instances", observed: "observed_provider_runner_ids", maxTemplates: maxTemplatesOld,
		takesReservationID: true,
	},
	Pr: {
		report: "/provisioners/provisioned-runners/report", reconcile: "/provisioners/provisioned-runners/reconcile", announce: "/provisioners/provisioned-runners/report",
		id: "provisioned_runner_id", ids: "provisioned_runners", observed: "observed_provisioned_runner_ids", maxTemplates: maxTemplatesOld,
		takesReservationID: true,
	},
}

const (
	routeMe     = "/provisioners/me"
	routePoll   = "/provisioners/demand/poll"
	routeBatch  = "/provisioners/runner-instances/batch"
	routeAttach = "/provisioners/runner-instances/{runner_instance_id}/provider-runner"
	routeAssign = "/provisioners/runner-instances/assignments"
	routeTokens = "/provisioners/runner-registration-tokens/batch"
)

// Generation tells which one the service speaks, and finds out if that is not
// known. MaxTemplates and the rest follow from it.
func (c *ControlPlane) Generation(ctx context.Context) (Generation, error) {
	if g, ok := c.generation.Load().(Generation); ok && g != "" {
		return g, nil
	}
	g, err := c.detect(ctx)
	if err != nil {
		return "", err
	}
	if was := c.generation.Swap(g); was != g {
		c.log.Info("the service speaks the Shipfox API", "generation", g)
	}
	return g, nil
}

// forgetGeneration has the next call find out anew: a route was not there.
func (c *ControlPlane) forgetGeneration(err error) {
	if noRoute(err) {
		c.log.Warn("a route is gone: the service speaks another generation", "err", err)
		c.generation.Store(Generation(""))
	}
}

// detect asks in a way that changes nothing. An empty reconcile is answered by
// pr under a name of its own; the old mint route is gone at head, and where it
// is, a request without a body is refused before anything is looked at.
func (c *ControlPlane) detect(ctx context.Context) (Generation, error) {
	_, err := c.client.post(ctx, generations[Ert].reconcile, map[string][]string{generations[Ert].observed: {}}, &struct{}{})
	switch {
	case noRoute(err):
		_, err = c.client.post(ctx, generations[Pr].reconcile, map[string][]string{generations[Pr].observed: {}}, &struct{}{})
		if err != nil {
			return "", fmt.Errorf("find the generation of the API: %w", err)
		}
		return Pr, nil
	case err != nil:
		return "", fmt.Errorf("find the generation of the API: %w", err)
	}
	_, err = c.client.post(ctx, routeTokens, struct{}{}, &struct{}{})
	switch {
	case noRoute(err):
		return Head, nil
	case hasStatus(err, http.StatusBadRequest):
		return Ert, nil
	case err == nil:
		return "", fmt.Errorf("find the generation of the API: %s took an empty request", routeTokens)
	default:
		return "", fmt.Errorf("find the generation of the API: %w", err)
	}
}

// CheckTemplates says whether this generation takes these templates. The error is
// ErrTooManyTemplates.
func (c *ControlPlane) CheckTemplates(ctx context.Context, templates []template.Template) error {
	g, err := c.Generation(ctx)
	if err != nil {
		return err
	}
	if n, most := len(templates), generations[g].maxTemplates; n > most {
		return fmt.Errorf("%w: %d, and %s takes at most %d", ErrTooManyTemplates, n, g, most)
	}
	largest := pollRequest{Wait: seconds(time.Hour), TTL: seconds(time.Hour), Max: maxReservations}
	for _, t := range templates {
		largest.Templates = append(largest.Templates, pollSlot{t.Key, t.Labels, t.MaxConcurrency, t.MaxConcurrency, t.MaxConcurrency})
	}
	text, err := json.Marshal(largest)
	if err == nil && len(text) > maxBody {
		err = fmt.Errorf("%w: with their keys and labels a poll of %d has %d bytes, and the service takes at most %d", ErrTooManyTemplates, len(templates), len(text), maxBody)
	}
	return err
}
