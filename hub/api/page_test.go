package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
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
	for _, path := range []string{"tokens", "credentials"} {
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
				query = "?limit=2&cursor=" + *part.Next
			}
			require.Equal(t, whole.Items, paged)
			w.problem(422, "invalid", w.do("GET", path+"?limit=0", nil))
		})
	}
}

// Why: as the key of an item, a text that no list gave begins a page anywhere. Who
// follows it misses items, or reads the first page for ever.
func TestACursorThatNoListGaveIsRefused(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		require.Equal(t, 201, w.do("POST", "tokens", map[string]string{"kind": "registration"}).status)
	}
	var page struct{ Next *string }
	w.into(200, w.do("GET", "tokens?limit=1", nil), &page)
	good := *page.Next
	var document struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "openapi.json", nil).body), &document))
	var lists []string
	for path, methods := range document.Paths {
		if !slices.ContainsFunc(methods["get"].Parameters, func(p struct{ Name string }) bool { return p.Name == "cursor" }) {
			continue
		}
		path = strings.TrimPrefix(path, "/api/v1/")
		lists = append(lists, path)
		bad := []string{"-", "0", "zzz", "!", good + "A", good[:len(good)-2], strings.Repeat("x", 1000)}
		if path != "tokens" {
			bad = append(bad, good)
		}
		for _, cursor := range bad {
			p := w.problem(422, "invalid", w.do("GET", path+"?cursor="+url.QueryEscape(cursor), nil))
			require.Equal(t, "cursor is not one of this list: it takes the next of the answer before, or nothing to begin with the first page", p.Detail, "%s: %s", path, cursor)
			require.Len(t, p.Errors, 1)
			require.Equal(t, "query.cursor", p.Errors[0].Location)
		}
	}
	require.ElementsMatch(t, []string{"audit", "credentials", "enrolments", "hosts", "jobs", "runners", "scale-sets", "tokens"}, lists)
	require.Equal(t, 200, w.do("GET", "tokens?limit=1&cursor="+good, nil).status)
	require.Equal(t, 200, w.do("GET", "tokens?cursor=", nil).status)
	p := w.problem(422, "invalid", w.do("GET", "jobs?limit=0&cursor=x", nil))
	require.Len(t, p.Errors, 2, "all that is wrong is told at once")
	p = w.problem(422, "invalid", w.do("GET", "events?after=x", nil))
	require.Equal(t, "query.after", p.Errors[0].Location)
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
