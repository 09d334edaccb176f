// Package rules holds the rules of the tree that no compiler checks.
package rules

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/slipway-ci/slipway"

// rules say which package may not reach what, and why.
var rules = []struct{ from, mustNotReach, allowed, why string }{
	{"./backend", `\.[a-z]+/`, module + "/backend", "the compute contract imports the standard library alone: who writes a Backend gets nothing else"},
	{"./template", `\.[a-z]+/`, module + "/template", "templates are plain values: the standard library alone"},
	{"./provisioner", `docker/|gorilla|sqlite|huma|yaml|cel-go|prometheus|net/http$`, "", "who embeds the loop gets no engine, no HTTP API, no database, no YAML and no expression language"},
	{"./provisioner", module + `/(hub|agent|docker|cmd|internal)`, "", "the loop knows only its two ports"},
	{"./docker", module + `/(hub|agent|provisioner)`, "", "a backend decides nothing and knows no control plane"},
	{"./hub/...", module + `/(agent|docker)(/|$)`, "", "a hub holds no engine; agent and hub meet on the wire alone"},
	{"./hub/queue", module + `/(provisioner|hub/(fleet|hosts|api|runnerapi))`, "", "the queue serves whoever provisions: only its plane knows the loop"},
	{"./hub/fleet/placement", module + `/hub/(store|hosts|scalesets|fleet$)|sqlite`, "", "placement decides, from values to a verdict"},
	{"./agent/...", module + `/hub(/|$)`, "", "agent and hub meet on the wire alone"},
	{"./tokens", `\.[a-z]+/`, module + "/tokens", "tokens are the standard library alone"},
}

func TestImports(t *testing.T) {
	for _, rule := range rules {
		t.Run(strings.TrimPrefix(rule.from, "./"), func(t *testing.T) {
			cmd := exec.Command("go", "list", "-deps", rule.from)
			cmd.Dir = "../.."
			out, err := cmd.Output()
			if err != nil {
				if strings.HasSuffix(rule.from, "/...") {
					return // a folder that is not there breaks no rule
				}
				t.Fatalf("go list -deps %s: %v", rule.from, err)
			}
			forbidden := regexp.MustCompile(rule.mustNotReach)
			for _, dep := range strings.Fields(string(out)) {
				if forbidden.MatchString(dep) && dep != rule.allowed && !standard(dep) {
					t.Errorf("%s reaches %s: %s", rule.from, dep, rule.why)
				}
			}
		})
	}
}

// standard says whether a package is the standard library's own: its first
// element has no dot, or it is vendored there.
func standard(dep string) bool {
	first, _, _ := strings.Cut(dep, "/")
	return first == "vendor" || !strings.Contains(first, ".") && dep != "net/http"
}
