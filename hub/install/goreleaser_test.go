package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// What a release builds is what a hub's folder of agents is looked through for.
func TestReleaseNamesAgentsAsTheyAreServed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", ".goreleaser.yaml"))
	require.NoError(t, err)
	type build struct {
		ID, Binary   string
		Goos, Goarch []string
	}
	var config struct {
		Builds   []build
		Archives []struct {
			IDs          []string `yaml:"ids"`
			NameTemplate string   `yaml:"name_template"`
			Formats      []string
		}
		Signs []struct{ Signature string }
	}
	require.NoError(t, yaml.Unmarshal(text, &config))
	names := func(template string) (all []string) {
		i := slices.IndexFunc(config.Builds, func(b build) bool { return b.ID == "slipway-agent" })
		require.GreaterOrEqual(t, i, 0)
		for _, goos := range config.Builds[i].Goos {
			for _, arch := range config.Builds[i].Goarch {
				all = append(all, strings.NewReplacer("{{ .Os }}", goos, "{{ .Arch }}", arch).Replace(template))
			}
		}
		return all
	}
	var built, archived []string
	for _, b := range config.Builds {
		if b.ID == "slipway-agent" {
			built = names(b.Binary)
		}
	}
	for _, a := range config.Archives {
		if slices.Contains(a.IDs, "slipway-agent") {
			require.Equal(t, []string{"binary"}, a.Formats)
			archived = names(a.NameTemplate)
		}
	}
	require.Equal(t, built, archived, "the manifest's command reads the platform from the built file's name")
	for _, arch := range architectures {
		require.Contains(t, built, "slipway-agent-linux-"+arch)
	}
	for _, name := range built {
		require.Regexp(t, programName, name)
		require.Regexp(t, programName, strings.Replace(config.Signs[0].Signature, "${artifact}", name, 1))
	}
}
