package hub_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// furnished is a hub with one of everything, and a backup of it that was made while
// it ran.
func furnished(t *testing.T) (c hub.Config, admin, backup string, stop func()) {
	t.Helper()
	c = config(t)
	c.PublicURL = "http://127.0.0.1:1"
	h, stop := serve(t, c)
	admin = h.AdminToken().Reveal()
	for _, made := range []struct{ method, path, body string }{
		{"POST", "/hosts", `{"name": "builder-01"}`},
		{"PUT", "/credentials/ghcr", `{"registry": "ghcr.io", "username": "ci", "password": "correct horse"}`},
		{"POST", "/scale-sets", `{"name": "small", "labels": ["linux"], "image": "ghcr.io/a/b:1", "cpu": 1, "memory": "1g", "max": 3, "hosts": ["builder-01"], "credential": "ghcr"}`},
		{"POST", "/jobs", `{"labels": ["other"], "run": "true", "env": {"SECRET": "canary-of-a-job"}}`},
	} {
		status, body := ask(t, made.method, h.URL()+"/api/v1"+made.path, admin, made.body)
		require.Less(t, status, 300, "%s: %s", made.path, body)
	}
	backup = filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, hub.Backup(t.Context(), c.DataDir, backup))
	require.ErrorIs(t, hub.Backup(t.Context(), c.DataDir, backup), store.ErrExists)
	data, err := os.ReadFile(backup)
	require.NoError(t, err)
	for _, secret := range []string{"correct horse", "canary-of-a-job", admin[8:]} {
		require.NotContains(t, string(data), secret)
	}
	return c, admin, backup, stop
}

func restored(t *testing.T, c hub.Config, backup string, clone bool) hub.Config {
	t.Helper()
	again := config(t)
	again.DataDir = filepath.Join(t.TempDir(), "data") // nothing is there yet
	again.MasterKeyFile = vault.DefaultFile(c.DataDir)
	require.NoError(t, hub.Restore(t.Context(), hub.RestoreConfig{File: backup, DataDir: again.DataDir, Clone: clone, MasterKeyFile: again.MasterKeyFile}))
	require.ErrorIs(t, hub.Restore(t.Context(), hub.RestoreConfig{File: backup, DataDir: again.DataDir, MasterKeyFile: again.MasterKeyFile}), store.ErrExists)
	return again
}

func TestAMovedHubIsTheOldOne(t *testing.T) {
	c, admin, backup, stop := furnished(t)
	stop()
	h, _ := serve(t, restored(t, c, backup, false))
	require.True(t, h.AdminToken().IsZero(), "the old one is good")
	for path, want := range map[string]string{"/hosts": "builder-01", "/scale-sets": `"small"`, "/credentials": "ghcr.io", "/jobs": `"status":"queued"`} {
		status, body := ask(t, "GET", h.URL()+"/api/v1"+path, admin, "")
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, strings.ReplaceAll(body, ": ", ":"), want, path)
	}
}

func TestACloneHasAFreshIdentity(t *testing.T) {
	c, admin, backup, _ := furnished(t) // the old one goes on
	h, _ := serve(t, restored(t, c, backup, true))
	fresh := h.AdminToken()
	require.False(t, fresh.IsZero())
	status, _ := ask(t, "GET", h.URL()+"/api/v1/hosts", admin, "")
	require.Equal(t, http.StatusUnauthorized, status, "no token of the old hub is good")
	get := func(path string) string {
		status, body := ask(t, "GET", h.URL()+"/api/v1"+path, fresh.Reveal(), "")
		require.Equal(t, http.StatusOK, status, body)
		return strings.ReplaceAll(body, ": ", ":")
	}
	require.NotContains(t, get("/hosts"), "builder-01")
	require.Contains(t, get("/scale-sets"), `"small"`)
	require.Contains(t, get("/credentials"), "ghcr.io")
	jobs := get("/jobs")
	require.Contains(t, jobs, `"status":"cancelled"`)
	require.Contains(t, jobs, `"reason":"cloned"`)
}

func TestARestoreWithoutTheKeyLeavesNothing(t *testing.T) {
	_, _, backup, stop := furnished(t)
	stop()
	dir := filepath.Join(t.TempDir(), "data")
	err := hub.Restore(t.Context(), hub.RestoreConfig{File: backup, DataDir: dir, MasterKey: vault.NewKey()})
	require.ErrorIs(t, err, vault.ErrKey)
	left, err := filepath.Glob(filepath.Join(dir, store.DatabaseFile+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
