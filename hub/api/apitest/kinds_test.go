package apitest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api/apitest"
	"github.com/slipway-ci/slipway/tokens"
)

// A kind of token that is added must be in the table, too.
func TestAllKindsAreThere(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "../../../tokens/kind.go", nil, 0)
	require.NoError(t, err)
	var kinds []tokens.Kind
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			kinds = append(kinds, tokens.Kind(text))
		}
		return true
	})
	require.ElementsMatch(t, kinds, apitest.Kinds)
}
