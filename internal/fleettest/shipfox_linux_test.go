package fleettest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
)

// A hub that is a provisioner of a Shipfox API too: jobs of both planes run on the
// same host, each in runners of its own plane.
func TestShipfox(t *testing.T) {
	other := newSite(t, nil) // speaks that API
	secret := strings.TrimSpace(other.cli("tokens", "create", "--kind", "provisioner", "--api", "head", "--name", "fleet"))
	require.True(t, strings.HasPrefix(secret, "sf_"), secret)

	// The fleet's own hub is in the same network, on another port.
	s := &site{t: t, net: other.net, hosts: map[string]*host{}, url: "http://" + hubAddress + ":8571", env: map[string]string{"SLIPWAY_SHIPFOX_TOKEN": secret}}
	s.hubs = []string{
		"--data", filepath.Join(t.TempDir(), "data"), "--listen", hubAddress + ":8571", "--public-url", s.url, "--insecure-http",
		"--min-free", "1", "--min-free-percent", "0.0001", "--log-level", "debug", "--heartbeat", "1s", "--shipfox-url", other.url,
	}
	s.startHub()
	s.token = s.hub.after("shown this once:\n")
	h := s.newHost("builder")
	h.join("--max-runners", "3")
	s.apply(scaleSet("theirs", "linux, theirs", "max: 2, control_plane: shipfox, hosts: [builder]") + scaleSet("ours", "linux, ours", "max: 2, hosts: [builder]"))

	far, near := []string{}, []string{}
	for range 3 {
		far = append(far, other.submit("linux", waiting("both")+"; echo from afar"))
		near = append(near, s.submit("linux", waiting("both")+"; echo from here"))
	}
	sets := map[string]int{}
	eventually(t, patience, func() string {
		clear(sets)
		for _, r := range s.allRunners() {
			if r.State == "running" {
				sets[r.ScaleSet]++
			}
		}
		if sets["theirs"]+sets["ours"] < 3 {
			return fmt.Sprintf("the host is not full: %v", sets)
		}
		return ""
	})
	require.NotZero(t, sets["theirs"])
	require.NotZero(t, sets["ours"])
	require.LessOrEqual(t, sets["ours"]+sets["theirs"], 3, "both planes share the host's cap")
	h.release("both")
	for i := range far {
		other.reaches(far[i], "succeeded")
		require.Contains(t, other.cli("jobs", "logs", far[i]), "from afar")
		s.reaches(near[i], "succeeded")
		require.Contains(t, s.cli("jobs", "logs", near[i]), "from here")
	}
	s.empty()
	require.Contains(t, s.get("/api/v1/hub"), `"shipfox":""`, "nothing is wrong with it")

	// The other one may be away: the hub's own jobs run.
	other.hub.kill()
	own := s.submit("ours", "true")
	s.reaches(own, "succeeded")
	other.startHub()
	late, err := other.client().Submit(t.Context(), client.JobSpec{Labels: []string{"theirs"}, Run: "true"}, "")
	require.NoError(t, err)
	other.reaches(late.ID, "succeeded")
	s.empty()
	require.NotContains(t, s.hub.output(), secret)
}
