package install

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func shaOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func TestDefaultSysbox(t *testing.T) {
	table := DefaultSysbox()
	require.Len(t, table["apt"], 2)
	require.Empty(t, table["dnf"], "its maker publishes no rpm")
	for arch, p := range table["apt"] {
		require.True(t, strings.HasSuffix(p.URL, arch+".deb"), p.URL)
	}
	// The example for operators is the default itself.
	example, err := ReadSysbox(filepath.Join("..", "..", "deploy", "sysbox.json"))
	require.NoError(t, err)
	require.Equal(t, table, example)
}

func TestReadSysbox(t *testing.T) {
	sum := shaOf("")
	line := func(url, sum, name string) string {
		return fmt.Sprintf(`{"dnf": {"arm64": {"url": %q, "sha256": %q, "package": %q}}}`, url, sum, name)
	}
	read := func(text string) (SysboxTable, error) {
		path := filepath.Join(t.TempDir(), "sysbox.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return ReadSysbox(path)
	}
	table, err := read(line("https://packages.example/a/sysbox.rpm", sum, "sysbox-ce"))
	require.NoError(t, err)
	require.Equal(t, SysboxTable{"dnf": {"arm64": {"https://packages.example/a/sysbox.rpm", sum, "sysbox-ce"}}}, table)
	table, err = read(`{}`)
	require.NoError(t, err)
	require.NotNil(t, table, "no packages, rather than the default ones")
	for _, bad := range []string{
		"", "null", "[]", `{} {}`, `{"apk": {}}`, `{"dnf": {"riscv64": {}}}`, `{"dnf": {"arm64": {}}}`, `{"dnf": {"arm64": {"link": "x"}}}`,
		line("http://packages.example/sysbox.rpm", sum, "sysbox-ce"), line("https://packages.example/sysbox.deb", sum, "sysbox-ce"), line("https://packages.example/$(x).rpm", sum, "sysbox-ce"),
		line("https://packages.example/sysbox.rpm", strings.ToUpper(sum), "sysbox-ce"), line("https://packages.example/sysbox.rpm", sum, "-y x"), line("https://packages.example/'.rpm", sum, "sysbox-ce"),
	} {
		_, err := read(bad)
		require.ErrorIs(t, err, ErrConfig, bad)
	}
	_, err = ReadSysbox(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
