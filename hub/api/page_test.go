package api_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
)

// Every list is answered in pages, the short ones too.
func TestShortListsHavePages(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		require.Equal(t, 201, w.do("POST", "tokens", map[string]string{"kind": "registration", "name": fmt.Sprint(i)}).status)
		credential := map[string]string{"registry": "ghcr.io", "username": "u", "password": "p"}
		require.Equal(t, 200, w.do("PUT", fmt.Sprintf("credentials/c%d", i), credential).status)
	}
	for path, name := range map[string]string{"tokens": "id", "credentials": "name"} {
		t.Run(path, func(t *testing.T) {
			type answer struct {
				Items []map[string]any
				Next  *string
			}
			var whole answer
			w.into(200, w.do("GET", path, nil), &whole)
			require.Nil(t, whole.Next)
			require.GreaterOrEqual(t, len(whole.Items), 5)
			var paged []map[string]any
			query := "?limit=2"
			for range len(whole.Items) {
				var part answer
				w.into(200, w.do("GET", path+query, nil), &part)
				require.LessOrEqual(t, len(part.Items), 2)
				paged = append(paged, part.Items...)
				if part.Next == nil {
					break
				}
				require.Equal(t, part.Items[len(part.Items)-1][name], *part.Next)
				query = "?limit=2&cursor=" + *part.Next
			}
			require.Equal(t, whole.Items, paged)
			w.problem(422, "invalid", w.do("GET", path+"?limit=0", nil))
		})
	}
}

func TestTheHubTellsOfItself(t *testing.T) {
	h := newHub(t)
	h.problem(404, "not-configured", h.do("GET", "hub", nil))
	h = newHub(t, func(c *api.Config) {
		c.Info = func() api.HubInfo {
			return api.HubInfo{Version: "v1", ControlPlanes: map[string]string{"queue": ""}}
		}
	})
	a := h.do("GET", "hub", nil)
	require.Equal(t, 200, a.status)
	require.Contains(t, a.body, `"control_planes":{"queue":""}`)
	require.Equal(t, 405, h.do("POST", "hub", map[string]string{}).status)
}
