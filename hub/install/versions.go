package install

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/release"
)

// Versions are those of the signed agents in a folder (Config.AgentsDir), each
// once: what agents can be updated to. What can't be read is left out: its requests
// say why.
func Versions(dir string) []string {
	if dir == "" {
		return nil
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "slipway-agent-*.manifest")) // the pattern is sound
	var found []string
	for _, path := range paths {
		if !programName.MatchString(filepath.Base(path)) {
			continue
		}
		if m, err := release.Read(path); err == nil && m.KeyID != "" {
			found = append(found, strings.TrimPrefix(m.Version, "v"))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
