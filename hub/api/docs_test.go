package api_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every route, and every code of a problem, is in the documentation.
func TestDocumentation(t *testing.T) {
	docs := ""
	for _, name := range []string{"api.md", "jobs-api.md"} {
		page, err := os.ReadFile("../../docs/" + name)
		require.NoError(t, err)
		docs += string(page)
	}
	docs = strings.NewReplacer("`, `/uncordon`", "` `POST /hosts/{name}/uncordon`", "`, `DELETE`", "` `DELETE /credentials/{name}`").Replace(docs)
	for _, route := range newHub(t).handler.Routes() {
		require.Contains(t, docs, "`"+route.Method+" "+strings.TrimPrefix(route.Path, "/api/v1")+"`")
	}
	roles := map[string]string{}
	for line := range strings.Lines(docs) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		for i, quoted := range strings.Split(cells[1], "`") {
			if i%2 == 1 {
				roles[quoted] = strings.TrimSpace(cells[2])
			}
		}
	}
	for _, route := range newHub(t).handler.Routes() {
		if name := route.Method + " " + strings.TrimPrefix(route.Path, "/api/v1"); !strings.Contains(name, "/jobs") {
			require.Equal(t, string(route.Role), roles[name], name)
		}
	}
	for _, name := range []string{"faults.go", "problem.go", "auth.go", "route.go", "logs.go", "watch.go", "runners.go", "scalesets.go", "etag.go"} {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		for rest := string(source); ; {
			_, after, found := strings.Cut(rest, "http.Status")
			if !found {
				break
			}
			rest = after
			_, quoted, found := strings.Cut(after, `, "`)
			if !found || strings.Index(after, `, "`) > 40 { // the status is not of a problem
				continue
			}
			code, _, _ := strings.Cut(quoted, `"`)
			if strings.Trim(code, "abcdefghijklmnopqrstuvwxyz-") != "" || code == "" {
				continue
			}
			require.Contains(t, docs, "`"+code+"`", "%s of %s", code, name)
		}
	}
}
