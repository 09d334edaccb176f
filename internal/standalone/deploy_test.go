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

// What the release configuration names is there, and it uses no key that is not
// of the version that it says (goreleaser.com/customization).
func TestDeployRelease(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	require.NoError(t, err)
	var release struct {
		Version     int                      `yaml:"version"`
		ProjectName string                   `yaml:"project_name"`
		Before      struct{ Hooks []string } `yaml:"before"`
		Builds      []releaseBuild           `yaml:"builds"`
		Archives    []releaseArchive         `yaml:"archives"`
		Signs       []map[string]any         `yaml:"signs"`
		Checksum    struct {
			Name string `yaml:"name_template"`
		} `yaml:"checksum"`
		Snapshot struct {
			Version string `yaml:"version_template"`
		} `yaml:"snapshot"`
		Changelog struct{ Disable bool } `yaml:"changelog"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&release))
	require.Equal(t, 2, release.Version)
	built := map[string]bool{}
	for _, b := range release.Builds {
		require.DirExists(t, filepath.Join(root, b.Main), b.ID)
		require.ElementsMatch(t, []string{"linux", "darwin"}, b.OS, b.ID)
		require.ElementsMatch(t, []string{"amd64", "arm64"}, b.Arch, b.ID)
		require.Contains(t, b.Env, "CGO_ENABLED=0", b.ID)
		built[b.ID] = true
	}
	require.True(t, built["slipway-provisioner"])
	for _, a := range release.Archives {
		for _, id := range a.IDs {
			require.True(t, built[id], "%s packs %s, which is not built", a.ID, id)
		}
		for _, pattern := range a.Files {
			found, err := filepath.Glob(filepath.Join(root, pattern))
			require.NoError(t, err)
			require.NotEmpty(t, found, "%s packs %s, which is not there", a.ID, pattern)
		}
	}
}

type releaseBuild struct {
	ID        string   `yaml:"id"`
	Main      string   `yaml:"main"`
	Binary    string   `yaml:"binary"`
	Env       []string `yaml:"env"`
	OS        []string `yaml:"goos"`
	Arch      []string `yaml:"goarch"`
	Flags     []string `yaml:"flags"`
	Linker    []string `yaml:"ldflags"`
	Timestamp string   `yaml:"mod_timestamp"`
}

type releaseArchive struct {
	ID      string   `yaml:"id"`
	IDs     []string `yaml:"ids"`
	Formats []string `yaml:"formats"`
	Name    string   `yaml:"name_template"`
	Files   []string `yaml:"files"`
}

// A stranger can follow the compose file: it pulls nothing that nobody publishes,
// and what it mounts is made by the steps at its top.
func TestDeployCompose(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deployed, "compose.yaml"))
	require.NoError(t, err)
	var compose struct {
		Services map[string]struct {
			Build   string
			Image   string
			User    string
			Volumes []string
		}
		Secrets map[string]struct{ File string }
	}
	require.NoError(t, yaml.Unmarshal(text, &compose))
	steps, _, _ := strings.Cut(string(text), "services:")
	one := compose.Services["provisioner"]
	require.Equal(t, ".", one.Build)
	require.NotContains(t, one.Image, "/", "an image that is built here")
	image, err := os.ReadFile(filepath.Join(deployed, "Dockerfile"))
	require.NoError(t, err)
	require.Contains(t, string(image), "USER "+one.User)
	for _, volume := range one.Volumes {
		from, _, _ := strings.Cut(volume, ":")
		if made, here := strings.CutPrefix(from, "./"); here {
			require.Contains(t, steps, "mkdir -p "+made)
		}
	}
	for _, secret := range compose.Secrets {
		require.Contains(t, steps, strings.TrimPrefix(secret.File, "./"))
	}
	require.Contains(t, steps, "-o "+strings.Split(one.User, ":")[0], "the container's user can read the token")
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
