package backend_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

func TestNothingPrintsASpecsSecrets(t *testing.T) {
	const canary = "canary-of-the-environment"
	spec := backend.Spec{
		ID: "the-id", Image: "alpine:3", Env: map[string]string{"TOKEN": canary},
		Credential: &backend.Credential{Registry: "ghcr.io", Username: "robot", Password: canary},
	}
	holder := struct {
		S backend.Spec
		C backend.Credential
		P *backend.Spec
		L []backend.Spec
		p *backend.Spec // fmt calls no methods on it
		c *backend.Credential
	}{spec, *spec.Credential, &spec, []backend.Spec{spec}, &spec, spec.Credential}

	var out bytes.Buffer
	for _, value := range []any{spec, &spec, *spec.Credential, spec.Credential, holder, &holder} {
		fmt.Fprintf(&out, "%v %+v %#v\n", value, value, value)
		require.NoError(t, json.NewEncoder(&out).Encode(value))
		for _, format := range []bool{false, true} {
			hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: format}).Info("m", "value", value)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", value)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "value", value)
	}
	require.NotContains(t, out.String(), canary)
	require.Contains(t, out.String(), "the-id")
	require.Contains(t, out.String(), "robot@ghcr.io")
}
