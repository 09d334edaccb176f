// Package examples holds programs to copy, each in a folder that stands for itself.
package examples

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadmeShowsTheEmbeddedLoop(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	source, err := os.ReadFile("embed/main.go")
	require.NoError(t, err)
	_, program, found := strings.Cut(string(source), "\nfunc main() {\n")
	require.True(t, found)
	program, _, found = strings.Cut(program, "\n}\n")
	require.True(t, found)
	program = "func main() {\n" + program + "\n}\n"
	require.Contains(t, string(readme), "```go\n"+program+"```\n", "README.md shows another main than main.go has")
	require.LessOrEqual(t, strings.Count(program, "\n"), 25)
}
