package shipfox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// Mint makes registrations, in batches. A reservation that is gone, or used up,
// is no error: what it could not cover is missing in the answer. A lost answer
// leaves at most credentials that expire. While the service does not want to be told
// of runners nothing is minted: they could not be launched.
func (c *ControlPlane) Mint(ctx context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	g, err := c.Generation(ctx)
	if err != nil {
		return nil, err
	}
	if g != Head && slices.ContainsFunc(requests, func(r provisioner.MintRequest) bool { return r.Reservation == "" }) {
		return nil, fmt.Errorf("shipfox: warm runners in generation %s: %w", g, errors.ErrUnsupported)
	}
	if _, err := c.client.rest("POST " + generations[g].announce); err != nil {
		return nil, fmt.Errorf("%w: nothing is minted while runners can't be announced", err)
	}
	var minted []provisioner.Registration
	for batch := range slices.Chunk(requests, c.config.BatchSize) {
		var some []provisioner.Registration
		if g == Head {
			some, err = c.mintInstances(ctx, batch)
		} else {
			some, err = c.mintTokens(ctx, g, batch)
		}
		if err != nil {
			c.forgetGeneration(err)
			if len(minted) > 0 { // what was minted is good; the rest is asked for again
				c.log.Warn("a batch was not minted", "count", len(batch), "err", err)
				return minted, nil
			}
			return nil, err
		}
		minted = append(minted, some...)
	}
	return minted, nil
}

type instanceRequest struct {
	Template    string `json:"template_key,omitempty"`
	Reservation string `json:"reservation_id,omitempty"`
}

type instanceAnswer struct {
	Instances []struct {
		ID    string `json:"runner_instance_id"`
		Token string `json:"bootstrap_token"`
		Index *int   `json:"request_index"`
	} `json:"runner_instances"`
	Unavailable bool `json:"reservation_unavailable"`
}

func (c *ControlPlane) mintInstances(ctx context.Context, batch []provisioner.MintRequest) ([]provisioner.Registration, error) {
	request := struct {
		Instances []instanceRequest `json:"runner_instances"`
	}{}
	for _, r := range batch {
		request.Instances = append(request.Instances, instanceRequest{r.Template, r.Reservation})
	}
	var answer instanceAnswer
	if _, err := c.client.post(ctx, routeBatch, request, &answer); err != nil {
		return nil, err
	}
	var minted []provisioner.Registration
	for i, instance := range answer.Instances {
		if instance.Index != nil { // an older service lacks it: then a prefix was accepted
			i = *instance.Index
		}
		if i < 0 || i >= len(batch) || instance.ID == "" || instance.Token == "" {
			return nil, fmt.Errorf("shipfox: POST %s: the answer names request %d of %d", routeBatch, i, len(batch))
		}
		env := c.environment(batch[i])
		env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"] = instance.Token
		env["SHIPFOX_RUNNER_PROVIDER_KIND"] = c.config.ProviderKind
		minted = append(minted, provisioner.Registration{
			Runner: batch[i].Runner, Env: env, Labels: c.labels(LabelInstance, instance.ID), Lifetime: bootstrapLifetime,
		})
	}
	return minted, nil
}

// mintTokens mints all or nothing, as the service does. Where the reservation
// has less left it says how much, and that is asked for.
func (c *ControlPlane) mintTokens(ctx context.Context, g Generation, batch []provisioner.MintRequest) ([]provisioner.Registration, error) {
	for len(batch) > 0 {
		minted, err := c.mintTokensOnce(ctx, g, batch)
		e := asAPI(err)
		switch {
		case err == nil:
			return minted, nil
		case noRoute(err):
			return nil, err
		case e == nil || !e.definite() || e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
			return nil, err
		case e.Code == "batch-exceeds-reservation":
			batch = batch[:e.left(len(batch))]
		case e.Code == "registration-token-active":
			before := len(batch)
			active := e.active()
			batch = slices.DeleteFunc(slices.Clone(batch), func(r provisioner.MintRequest) bool { return slices.Contains(active, r.Runner) })
			if len(batch) == before {
				return nil, err
			}
		case e.Status == http.StatusNotFound || e.Status == http.StatusConflict:
			c.log.Info("the reservation can't be minted", "reservation", batch[0].Reservation, "err", err)
			return nil, nil
		default:
			return nil, fmt.Errorf("%w: %w", err, provisioner.ErrRejected)
		}
	}
	return nil, nil
}

func (c *ControlPlane) mintTokensOnce(ctx context.Context, g Generation, batch []provisioner.MintRequest) ([]provisioner.Registration, error) {
	n := generations[g]
	ids := make([]map[string]string, len(batch))
	byID := make(map[string]provisioner.MintRequest, len(batch))
	for i, r := range batch {
		ids[i] = map[string]string{n.id: r.Runner}
		byID[r.Runner] = r
	}
	var answer struct {
		Tokens []map[string]json.RawMessage `json:"tokens"`
	}
	said, err := c.client.post(ctx, routeTokens, map[string]any{"reservation_id": batch[0].Reservation, n.ids: ids}, &answer)
	if err != nil {
		return nil, err
	}
	var minted []provisioner.Registration
	for _, token := range answer.Tokens {
		var (
			id, secret string
			expires    time.Time
		)
		err := errors.Join(json.Unmarshal(token[n.id], &id), json.Unmarshal(token["registration_token"], &secret))
		request, asked := byID[id]
		if err != nil || !asked || secret == "" {
			return nil, fmt.Errorf("shipfox: POST %s: the answer names a runner that was not asked for", routeTokens)
		}
		_ = json.Unmarshal(token["expires_at"], &expires)
		env := c.environment(request)
		env["SHIPFOX_RUNNER_REGISTRATION_TOKEN"] = secret
		minted = append(minted, provisioner.Registration{Runner: id, Env: env, Labels: c.labels(), Lifetime: life(said.date, expires, bootstrapLifetime)})
	}
	return minted, nil
}

// labels are pairs, and the token's own workspace, where it has one: a grant
// names its workspace for installation-wide tokens alone.
func (c *ControlPlane) labels(pairs ...string) map[string]string {
	labels := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		labels[pairs[i]] = pairs[i+1]
	}
	if workspace, _ := c.workspace.Load().(string); workspace != "" {
		labels[provisioner.LabelWorkspace] = workspace
	}
	return labels
}

// environment is what every generation's runner starts with.
func (c *ControlPlane) environment(r provisioner.MintRequest) map[string]string {
	return map[string]string{
		"SHIPFOX_API_URL":                     c.config.RunnerURL,
		"SHIPFOX_RUNNER_LABELS":               strings.Join(r.Labels, ","),
		"SHIPFOX_POLL_MAX_DURATION_MS":        strconv.FormatInt(max(c.config.PollMaxDuration.Milliseconds(), 0), 10),
		"SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS": strconv.Itoa(seconds(c.config.MaxLifetime)),
	}
}

// left is how many of asked a reservation still covers, by its own words, and
// always fewer than were asked for.
func (e *APIError) left(asked int) int {
	var d struct {
		Count  int `json:"reservation_count"`
		Minted int `json:"already_minted"`
	}
	_ = json.Unmarshal(e.details, &d)
	return min(max(d.Count-d.Minted, 0), asked-1)
}

func (e *APIError) active() []string {
	var d struct {
		Ert []string `json:"provider_runner_ids"`
		Pr  []string `json:"provisioned_runner_ids"`
	}
	_ = json.Unmarshal(e.details, &d)
	return append(d.Ert, d.Pr...)
}
