package file

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
	ld := newLoader("t.yaml", []byte(input), "", nil)
	require.Len(t, ld.load(), 1000)
	require.NoError(t, ld.problems.err())
	require.Less(t, ld.eval.cost, uint64(maxFileCost/10))
	t.Logf("cost %d of %d", ld.eval.cost, maxFileCost)
}
