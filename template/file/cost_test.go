package file

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
)

// TestCostOfALargeFile: a thousand variants with a dozen expressions each are far
// from what a file may cost.
func TestCostOfALargeFile(t *testing.T) {
	input := `
vars: {images: {u20: "ubuntu:20.04", u22: "ubuntu:22.04"}, factor: 2}
defaults: {env: {A: "${{ os }}", B: "${{ cpu }}", C: "eu-${{ region }}"}, max_concurrency: 1}
matrix:
  linux:
    axes: {os: [u20, u22], cpu: [1, 2, 4, 8, 16], region: "${{ range(1, 100, 1) }}"}
    exclude: [` + strings.Repeat("{os: no, cpu: 99}, ", 20) + `]
    let: {gib: "${{ cpu * vars.factor }}", name: "${{ os + '-' + string(cpu) }}"}
    key: ${{ name }}-${{ region }}
    template: {labels: ["${{ os }}", "${{ name }}", "r-${{ region }}"], image: "${{ vars.images[os] }}", cpu: "${{ cpu }}", memory: "${{ gib }}g"}
`
	ld := newLoader([]byte(input), Options{})
	require.Len(t, ld.load(), 1000)
	require.NoError(t, failure("t.yaml", ld.doc))
	fresh, err := expr.New(ld.doc, &document.Node{})
	require.NoError(t, err)
	require.Greater(t, ld.base.Left(), fresh.Left()*9/10)
	t.Logf("cost %d of %d", fresh.Left()-ld.base.Left(), fresh.Left())
}
