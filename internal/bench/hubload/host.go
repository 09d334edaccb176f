package hubload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/tokens"
)

// pool is the label that the scale sets select the hosts by.
const pool = "load"

// invitation finds the enrolment token in an install line.
var invitation = regexp.MustCompile(`/install/([^/ ]+)\.sh`)

// newHost adds a host by the API, and enrols an agent for it as slipway-agent does.
func (l *Load) newHost(ctx context.Context, name string) (*agent.Agent, error) {
	added, err := l.client.AddHost(ctx, client.HostSpec{Name: name, Labels: map[string]string{"pool": pool}})
	if err != nil {
		return nil, fmt.Errorf("add host %s: %w", name, err)
	}
	found := invitation.FindStringSubmatch(added.Enrolment.Line)
	if found == nil {
		return nil, fmt.Errorf("add host %s: its install line holds no token", name)
	}
	id, token := uuid.NewString(), tokens.New(tokens.Agent)
	if err := l.enrol(ctx, found[1], id, token.Digest()); err != nil {
		return nil, fmt.Errorf("enrol host %s: %w", name, err)
	}
	facts := agent.Facts{
		OS: "linux", Arch: "amd64", CPUs: 64, Memory: 256 << 30, Runtimes: []string{"runc", "sysbox-runc"}, EngineVersion: "28.5.2",
		Disk: agent.Disk{Free: 400 << 30, Total: 900 << 30}, Hints: map[string]string{"kernel": "6.8.0"},
	}
	return agent.New(agent.Config{
		Hub: l.hub.url, Token: func() tokens.Token { return token }, ID: id, Engine: "engine-" + id, Version: "v1.0.0",
		Backend: memory.New(memory.Config{}).Backend(added.ID), Facts: facts,
		Look: func(context.Context) (agent.Facts, error) { return facts, nil },
		Stats: func(context.Context) (agent.Stats, error) {
			return agent.Stats{CPUs: 12.5, Memory: 90 << 30, Load: 14, Disk: facts.Disk}, nil
		},
	})
}

// enrol gives the digest of an agent's token for an enrolment token.
func (l *Load) enrol(ctx context.Context, token, id string, digest tokens.Digest) error {
	body, err := json.Marshal(map[string]string{"agent": id, "digest": digest.String(), "version": "v1.0.0"})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.hub.url+"/api/v1/agent/enrol", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := l.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return err
}
