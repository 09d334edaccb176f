package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/template/file"
	"github.com/stretchr/testify/require"
)

// matrixOf1000 is one family of a thousand variants with twelve expressions each.
const matrixOf1000 = `
vars: {images: {u20: "ubuntu:20.04", u22: "ubuntu:22.04"}, factor: 2}
defaults:
  max_concurrency: ${{ cpu > 4.0 ? 10 : 50 }}
  env: {OS: "${{ os }}", CPU: "${{ cpu }}", REGION: "eu-${{ region }}"}
matrix:
  linux:
    axes:
      os: [u20, u22]
      cpu: [1, 2, 4, 8, 16]
      region: ${{ range(1, 100, 1) }}
    let:
      gib: ${{ cpu * vars.factor }}
      name: ${{ os + '-' + string(cpu) }}
    key: ${{ name }}-${{ region }}
    template:
      labels: ["${{ os }}", "${{ name }}", "region-${{ region }}"]
      image: ${{ vars.images[os] }}
      cpu: ${{ cpu }}
      memory: ${{ gib }}g
`

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, data string }{
		{"matrix=1000", strings.Replace(matrixOf1000, "${{ cpu > 4.0 ? 10 : 50 }}", "\"${{ cpu > 4.0 ? 10 : 50 }}\"", 1)},
		{"hand-written=1000", handWritten(1000)},
		{"families=500", families(500)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := file.Parse("t.yaml", []byte(c.data), file.Options{})
				require.NoError(b, err)
			}
		})
	}
}

// handWritten is a file of n hand-written templates with expressions of their own.
func handWritten(n int) string {
	var out strings.Builder
	out.WriteString("vars: {registry: ghcr.io/acme}\ndefaults: {cpu: 2, memory: 4g, max_concurrency: 10}\ntemplates:\n")
	for i := range n {
		fmt.Fprintf(&out, "  t%d: {labels: [a, l%d], image: \"${{ vars.registry }}/img:%d\", cost: \"${{ %d.0 / 2.0 }}\"}\n", i, i, i, i+1)
	}
	return out.String()
}

// families is a file of n families with two variants each.
func families(n int) string {
	var out strings.Builder
	out.WriteString("defaults: {memory: 4g, max_concurrency: 10, image: \"img-${{ os }}\"}\nmatrix:\n")
	for i := range n {
		fmt.Fprintf(&out, "  f%d: {axes: {os: [a, b]}, let: {l: \"${{ os + '-%d' }}\"}, template: {labels: [\"${{ l }}\"], cpu: 1}}\n", i, i)
	}
	return out.String()
}
