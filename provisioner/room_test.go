package provisioner

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The planner and the machinery are one package, with a border in it: what Plan is
// made of knows no clock, no call that can wait, and nothing of the ledger.
func TestThePlannerIsApart(t *testing.T) {
	files, err := filepath.Glob("plan*.go")
	require.NoError(t, err)
	files = slices.DeleteFunc(append(files, "snapshot.go", "action.go", "runner.go", "reason.go"), func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	require.GreaterOrEqual(t, len(files), 8)
	imports := []string{"cmp", "fmt", "slices", "strings", "time", "github.com/slipway-ci/slipway/backend", "github.com/slipway-ci/slipway/template"}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
	machinery := []string{"ledger", "lane", "run", "Loop", "news", "outbox", "ControlPlane", "Config"}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			require.Contains(t, imports, path, name)
		}
		types := map[string]bool{} // of this package, by name, wherever a type may stand
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SendStmt, *ast.SelectStmt, *ast.ChanType:
				t.Errorf("%s waits or starts something: %T", name, n)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s has a clock: time.%s", name, n.Sel.Name)
				}
			case *ast.StarExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					types[x.Name] = true
				}
			case *ast.Field:
				if x, ok := n.Type.(*ast.Ident); ok {
					types[x.Name] = true
				}
			}
			return true
		})
		for _, word := range machinery {
			require.False(t, types[word], "%s knows of %s", name, word)
		}
	}
}
