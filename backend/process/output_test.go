package process

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

func TestOutputKeepsHeadAndTailAndNoMore(t *testing.T) {
	const limit = 16 << 10
	b := open(t, Config{LogBytes: limit})
	id := launch(t, b, shell(t, `i=0; while test $i -lt 20000; do echo "line $i"; i=$((i+1)); done; echo last >&2`))
	ended(t, b, id)
	size := int64(0)
	names, err := filepath.Glob(filepath.Join(b.folder.runner(id), logPrefix+"*"))
	require.NoError(t, err)
	for _, name := range names {
		info, err := os.Stat(name)
		require.NoError(t, err)
		size += info.Size()
	}
	require.LessOrEqual(t, size, int64(limit))
	text := printedBy(t, b, id)
	require.True(t, strings.HasPrefix(text, "line 0\nline 1\n"))
	require.True(t, strings.HasSuffix(text, "line 19998\nline 19999\nlast\n"))
	require.Regexp(t, `\n\[\d+ bytes of output were cut here\]\n`, text)
	require.GreaterOrEqual(t, len(text), limit/2)

	log, err := backend.Logs(within(t), b, id, 2)
	require.NoError(t, err)
	tail, err := io.ReadAll(log)
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.Equal(t, "line 19999\nlast\n", string(tail))
}

func TestOutputAcrossItsFiles(t *testing.T) {
	for seed := range uint64(50) {
		dice := rand.New(rand.NewPCG(seed, 1))
		dir, limit := t.TempDir(), 64+dice.Int64N(200)
		out := newOutput(dir, limit)
		var all []byte
		for range dice.IntN(60) {
			p := fmt.Appendf(nil, "%0*d\n", dice.IntN(40)+1, len(all))
			n, err := out.Write(p)
			require.NoError(t, err)
			require.Equal(t, len(p), n)
			all = append(all, p...)

			text, err := readOutput(dir)
			require.NoError(t, err)
			head, tail, cut := bytes.Cut(text, []byte("\n["))
			if !cut {
				require.Equal(t, string(all), string(text), "seed %d", seed)
				continue
			}
			var lost int
			_, err = fmt.Sscanf(string(tail), "%d bytes of output were cut here]\n", &lost)
			require.NoError(t, err)
			_, tail, _ = bytes.Cut(tail, []byte("]\n"))
			require.True(t, bytes.HasPrefix(all, head), "seed %d", seed)
			require.True(t, bytes.HasSuffix(all, tail), "seed %d", seed)
			require.Equal(t, len(all), len(head)+lost+len(tail), "seed %d", seed)
			require.LessOrEqual(t, int64(len(head)+len(tail)), limit)
			require.GreaterOrEqual(t, int64(len(tail)), out.tail)
		}
		out.close()
	}
}

func TestOutputOfFullDiskHoldsNobodyUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	out := newOutput(dir, minLogBytes) // can't be written to
	n, err := out.Write(make([]byte, 3*minLogBytes))
	require.NoError(t, err)
	require.Equal(t, 3*minLogBytes, n)
	require.NoError(t, os.Mkdir(dir, 0o700))
	_, err = out.Write(bytes.Repeat([]byte("x"), minLogBytes))
	require.NoError(t, err)
	out.close()
	text, err := readOutput(dir)
	require.NoError(t, err)
	require.Contains(t, string(text), "bytes of output were cut here", "what was lost is told")
	require.Contains(t, string(text), "xxxx", "and what came after is kept")
}

func TestLastLines(t *testing.T) {
	tests := []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 2, "b\nc"}, {"a\nb\n", 0, "a\nb\n"},
		{"a\nb\n", 5, "a\nb\n"}, {"a\n\n\n", 1, "\n"}, {"\n", 1, "\n"}, {"abc", 1, "abc"},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, string(lastLines([]byte(tt.text), tt.n)), "%q %d", tt.text, tt.n)
	}
}

func TestLogsWhileItRunsAndAfterItIsGone(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, "echo one; echo two >&2; exec sleep 600"))
	printed(t, b, id, "one\ntwo")
	require.NoError(t, b.Remove(within(t), id))
	for _, id := range []string{id, newID(t), "../" + id, ""} {
		_, err := b.Logs(within(t), id, 0)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}
