package hostile_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/client"
)

// Why: secrets are in no log, file, listing, event or metric of the hub, in no form
// that they could be read from.
func TestNoSecretIsInWhatTheHubKeepsLogsOrTells(t *testing.T) {
	s := newSite(t, func(c *hub.Config) { c.Logger.SetLevel(hclog.Trace) })
	good := s.enrol("good", 4)
	got := good.works()
	const password, variable = "canary-of-the-registry-77ab12", "canary-of-the-job-91cd34"
	s.must("PUT", "/api/v1/credentials/reg", fmt.Sprintf(`{"registry": "registry.example", "username": "ci", "password": %q}`, password), nil)
	s.must("POST", "/api/v1/scale-sets", `{"name": "small", "labels": ["small"], "image": "registry.example/img:1", "credential": "reg", "cpu": 1, "memory": "16m", "max": 4, "selector": {"pool": "all"}}`, nil)
	s.must("POST", "/api/v1/jobs", fmt.Sprintf(`{"labels": ["small"], "run": "true", "env": {"SECRET": %q}}`, variable), nil)
	var made struct{ Token, Secret string }
	s.must("POST", "/api/v1/tokens", `{"kind": "api", "role": "viewer", "name": "v"}`, &made)
	var again client.NewHost
	s.must("POST", "/api/v1/hosts/good/reenrol", `{}`, &again)
	s.done(1, patience)
	// Secrets where they don't belong: in paths and queries that are logged.
	for _, path := range []string{"/api/v1/jobs?token=" + s.admin, "/install/" + s.lines[0] + ".sh", "/api/v1/hosts/" + s.admin} {
		answer, err := s.http.Get(s.url + path)
		require.NoError(t, err)
		_ = answer.Body.Close()
	}

	secrets := map[string]string{"the admin's token": s.admin, "the agent's token": good.token.Reveal(), "the registry's password": password, "the job's variable": variable}
	for i, line := range append(s.lines, invitation.FindStringSubmatch(again.Enrolment.Line)[1]) {
		secrets[fmt.Sprint("enrolment ", i)] = line
	}
	require.NotEmpty(t, got.all())
	for i, token := range got.all() {
		secrets[fmt.Sprint("registration ", i)] = token
	}
	require.NotEmpty(t, made.Token+made.Secret)
	secrets["an API token"] = made.Token + made.Secret

	places := map[string]string{"the log": s.log.String()}
	require.NoError(t, filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		places[path] = string(text)
		return err
	}))
	for _, path := range []string{"hosts", "hosts/good", "enrolments", "scale-sets", "scale-sets/small", "scale-sets/export", "credentials", "runners", "jobs", "events?after=0&limit=500", "audit?limit=500", "tokens", "hub", "openapi.json", "../../metrics"} {
		request, err := http.NewRequestWithContext(t.Context(), "GET", s.url+strings.ReplaceAll("/api/v1/"+path, "/api/v1/../../", "/"), nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+s.admin)
		answer, err := s.http.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.Equal(t, 200, answer.StatusCode, path)
		places[path] = string(text)
	}
	require.Greater(t, len(places), 15)
	for what, secret := range secrets {
		for where, text := range places {
			for form, look := range map[string]string{
				"": secret, "in base64": base64.StdEncoding.EncodeToString([]byte(secret)), "in hex": hex.EncodeToString([]byte(secret)),
			} {
				require.False(t, strings.Contains(text, look), "%s is in %s %s", what, where, form)
			}
		}
	}
}
