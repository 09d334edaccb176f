package api_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api/problem"
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
	var sources []string
	for _, pattern := range []string{"*.go", "rest/*.go", "../edge/refuse.go", "problem/*.go", "../hosts/enrolapi/*.go"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found)
		sources = append(sources, slices.DeleteFunc(found, func(name string) bool { return strings.HasSuffix(name, "_test.go") })...)
	}
	used := map[string]bool{}
	for _, name := range sources {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, match := range codeOfStatus.FindAllStringSubmatch(string(source), -1) {
			require.Contains(t, problem.Codes, match[1], name)
			used[match[1]] = true
		}
	}
	require.Greater(t, len(used), 25, "the pattern finds them")
	for _, code := range problem.Codes {
		require.True(t, strings.Contains(docs, "`"+code+"`"), "%s is not in the documentation", code)
	}
}

// codeOfStatus is a problem's code in the source: it comes right after the status.
var codeOfStatus = regexp.MustCompile(`http\.Status[A-Za-z]+[,:] "([a-z-]+)"`)
