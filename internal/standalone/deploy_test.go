package standalone

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/internal/enginetest"
	"github.com/slipway-ci/slipway/template/file"
)

var deployed = filepath.Join("..", "..", "deploy")

func TestDeployUnitIsSound(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	// The program that the unit starts must be there for the check.
	text, err := os.ReadFile(filepath.Join(deployed, "slipway-provisioner.service"))
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "slipway-provisioner.service")
	there := strings.Replace(string(text), "/usr/local/bin/slipway-provisioner", "/bin/true", 1)
	require.NotEqual(t, string(text), there)
	require.NoError(t, os.WriteFile(unit, []byte(there), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "slipway-provisioner.service", "a line of the unit is not understood")
}

func TestDeployFilesHold(t *testing.T) {
	read, err := file.Load(filepath.Join(deployed, "templates.example.yaml"), file.Options{})
	require.NoError(t, err)
	require.Empty(t, read.Warnings)
	require.Len(t, read.Templates, 2)

	names := map[string]bool{"SHIPFOX_PROVISIONER_TOKEN_FILE": true}
	for _, s := range settings {
		names[s.env] = true
	}
	used := regexp.MustCompile(`\b(?:SHIPFOX|SLIPWAY|LOG)_[A-Z_]+\b`)
	for _, name := range []string{"Dockerfile", "compose.yaml", "slipway-provisioner.service"} {
		text, err := os.ReadFile(filepath.Join(deployed, name))
		require.NoError(t, err)
		for _, variable := range used.FindAllString(string(text), -1) {
			require.True(t, names[variable] || variable == "SLIPWAY_PROVISIONER_IMAGE", "%s sets %s, which is no setting", name, variable)
		}
	}
	for _, path := range []string{filepath.Join(deployed, "compose.yaml"), filepath.Join("..", "..", ".goreleaser.yaml")} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var v map[string]any
		require.NoError(t, yaml.Unmarshal(text, &v), path)
	}
}

// Every setting is in the documentation, with its flag and its default.
func TestDeployDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "provisioner.md"))
	require.NoError(t, err)
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); ok && strings.HasPrefix(line, "| `") && !strings.HasPrefix(name, "/") {
			rows[name] = line
		}
	}
	for _, s := range settings {
		row, ok := rows[s.env]
		require.True(t, ok, "%s is not in the table", s.env)
		if s.flag != "" {
			require.Contains(t, row, "`--"+s.flag+"`")
		}
		if s.value != "" {
			require.Contains(t, row, "`"+s.value+"`", "the default of %s", s.env)
		}
		delete(rows, s.env)
	}
	delete(rows, "SHIPFOX_PROVISIONER_TOKEN_FILE")
	require.Empty(t, rows, "what is no setting is documented as one")
}

// The image is built from nothing but the static programs, and starts.
func TestDeployImage(t *testing.T) {
	engine := enginetest.Engine(t)
	dir := programs(t)
	var context bytes.Buffer
	w := tar.NewWriter(&context)
	roots := filepath.Join(t.TempDir(), "roots")
	require.NoError(t, os.WriteFile(roots, []byte("# no roots are needed here\n"), 0o600))
	for name, path := range map[string]string{
		"bin/ca-certificates.crt": roots,
		"Dockerfile":              filepath.Join(deployed, "Dockerfile"), "bin/slipway-provisioner": filepath.Join(dir, "slipway-provisioner"),
		"bin/slipway-runner": filepath.Join(dir, "slipway-runner"),
	} {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err = w.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	tag := enginetest.Owner(t) + ":image"
	answer, err := engine.ImageBuild(t.Context(), &context, build.ImageBuildOptions{Tags: []string{tag}, Remove: true, NoCache: true})
	require.NoError(t, err)
	said, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.NotContains(t, string(said), `"error"`, string(said))
	t.Cleanup(func() { enginetest.RemoveImages(t, engine, tag) })

	run := func(args ...string) (int64, string) {
		made, err := engine.ContainerCreate(t.Context(), &container.Config{Image: tag, Cmd: args}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "")
		require.NoError(t, err)
		defer func() {
			require.NoError(t, engine.ContainerRemove(t.Context(), made.ID, container.RemoveOptions{Force: true}))
		}()
		require.NoError(t, engine.ContainerStart(t.Context(), made.ID, container.StartOptions{}))
		ended, errs := engine.ContainerWait(t.Context(), made.ID, container.WaitConditionNotRunning)
		var code int64
		select {
		case result := <-ended:
			code = result.StatusCode
		case err := <-errs:
			require.NoError(t, err)
		}
		log, err := engine.ContainerLogs(t.Context(), made.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
		require.NoError(t, err)
		defer func() { require.NoError(t, log.Close()) }()
		text, err := io.ReadAll(log)
		require.NoError(t, err)
		return code, string(text)
	}
	code, text := run("--version")
	require.Zero(t, code, text)
	require.Contains(t, text, "slipway-provisioner")
	code, text = run()
	require.Equal(t, int64(2), code, text)
	require.Contains(t, text, "SHIPFOX_PROVISIONER_TOKEN is not set")
	inspected, err := engine.ImageInspect(t.Context(), tag)
	require.NoError(t, err)
	require.Equal(t, "65534:65534", inspected.Config.User, "not root")
}
