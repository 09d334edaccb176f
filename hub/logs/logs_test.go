package logs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/hub/logs"
)

var key = logs.Key{Job: "0192-job", Attempt: 1}

func open(t require.TestingT, dir string) *logs.Store {
	s, err := logs.New(logs.Config{Dir: dir, Limit: 80, PartBytes: 10})
	require.NoError(t, err)
	return s
}

// text reads a whole log as people do.
func text(t require.TestingT, s *logs.Store, k logs.Key, limit int) string {
	var out strings.Builder
	for offset := int64(0); ; {
		c, err := s.Read(k, offset, limit)
		require.NoError(t, err)
		require.Equal(t, offset, c.Offset)
		if c.End() {
			return out.String()
		}
		if c.Missing > 0 {
			out.WriteString(c.Mark())
		}
		out.Write(c.Data)
		offset = c.Next()
	}
}

func TestAppendIsIdempotent(t *testing.T) {
	s := open(t, t.TempDir())
	for _, c := range []struct {
		offset int64
		data   string
		want   int64
	}{{0, "hello ", 6}, {0, "hello ", 6}, {3, "lo world", 11}, {11, "", 11}, {2, "llo", 11}, {11, " and more of it", 26}} {
		length, err := s.Append(key, c.offset, []byte(c.data))
		require.NoError(t, err)
		require.Equal(t, c.want, length)
	}
	length, err := s.Append(key, 27, []byte("x"))
	require.ErrorIs(t, err, logs.ErrGap)
	require.Equal(t, int64(26), length, "the sender must learn where to go on")
	require.Equal(t, "hello world and more of it", text(t, s, key, 7))
	require.Equal(t, int64(26), s.Total())

	require.Empty(t, text(t, s, logs.Key{Job: key.Job, Attempt: 2}, 7), "attempts have logs of their own")
}

func TestHugeLogKeepsHeadAndTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var all bytes.Buffer
	for i := range 1000 {
		line := fmt.Sprintf("line %04d\n", i)
		all.WriteString(line)
		_, err := s.Append(key, int64(i*10), []byte(line))
		require.NoError(t, err)
		require.LessOrEqual(t, s.Total(), int64(80))
	}
	got := text(t, s, key, 1000)
	require.Equal(t, all.String()[:40]+"\n[slipway: 9920 bytes of the log are missing here: the log is longer than is kept]\n"+all.String()[9960:], got)
	require.Equal(t, got, text(t, open(t, dir), key, 3), "after a restart it must stand where it stood")

	c, err := s.Read(key, 5000, 100)
	require.NoError(t, err)
	require.Equal(t, int64(9960), c.Next(), "a slow reader is told what it missed")
}

func TestDropIsTold(t *testing.T) {
	s := open(t, t.TempDir())
	_, err := s.Append(key, 0, []byte("before"))
	require.NoError(t, err)
	for i := range 100 { // more than there may be parts
		length, err := s.Drop(key, int64(6+5*i), 5)
		require.NoError(t, err)
		require.Equal(t, int64(11+5*i), length)
	}
	require.Equal(t, "before\n[slipway: 500 bytes of the log are missing here: the disk was full]\n", text(t, s, key, 100))
	_, err = s.Append(key, 506, []byte("after"))
	require.NoError(t, err)
	require.Equal(t, "before\n[slipway: 500 bytes of the log are missing here: the disk was full]\nafter", text(t, s, key, 100))
	_, err = s.Drop(key, 600, 1)
	require.ErrorIs(t, err, logs.ErrGap)
	length, err := s.Drop(key, 0, 5)
	require.NoError(t, err)
	require.Equal(t, int64(511), length, "what is stored stays so")
}

func TestRemoveAndScan(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, k := range []logs.Key{{Job: "keep-ab", Attempt: 1}, {Job: "keep-ab", Attempt: 2}, {Job: "gone-ab", Attempt: 1}, {Job: "drop-cd", Attempt: 1}} {
		_, err := s.Append(k, 0, []byte(strings.Repeat("x", 33)))
		require.NoError(t, err)
	}
	freed, err := s.Remove("drop-cd")
	require.NoError(t, err)
	require.Equal(t, int64(33), freed)
	freed, err = s.Remove("drop-cd")
	require.NoError(t, err)
	require.Zero(t, freed)
	require.Equal(t, int64(99), s.Total())

	s = open(t, dir)
	require.NoError(t, s.Scan(func(job string) (bool, error) { return job == "keep-ab", nil }))
	require.Equal(t, int64(66), s.Total())
	require.NoDirExists(t, filepath.Join(dir, "ab", "gone-ab"))
	require.Len(t, text(t, s, logs.Key{Job: "keep-ab", Attempt: 2}, 50), 33)
}

func TestBadKeys(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "logs"))
	for _, k := range []logs.Key{{}, {Job: "..", Attempt: 1}, {Job: "../../x", Attempt: 1}, {Job: "a/b", Attempt: 1}, {Job: "good-id", Attempt: 0}} {
		_, err := s.Append(k, 0, []byte("x"))
		require.ErrorIs(t, err, logs.ErrInvalid, "%v", k)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing may be written elsewhere")
}

// Whatever is appended, dropped and cut: what is read is what was written, with
// marks for exactly what is missing, and never more than the limit is kept.
func TestEveryByteIsThereOrTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "logs-")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		s := open(t, dir)
		var all []byte
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			size := rapid.IntRange(0, 45).Draw(t, "size")
			back := rapid.IntRange(0, min(7, len(all))).Draw(t, "back")
			from := len(all) - back
			data := append([]byte(nil), all[from:]...)
			for range size {
				data = append(data, byte('a'+(len(all)-back+len(data))%26))
			}
			write := s.Append
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				write = func(k logs.Key, offset int64, data []byte) (int64, error) { return s.Drop(k, offset, len(data)) }
			}
			length, err := write(key, int64(from), data)
			require.NoError(t, err)
			all = append(all[:from], data...)
			require.Equal(t, int64(len(all)), length)
			require.LessOrEqual(t, s.Total(), int64(80))
		}
		var at int64
		for {
			c, err := s.Read(key, at, 13)
			require.NoError(t, err)
			require.Equal(t, string(all[at:at+int64(len(c.Data))]), string(c.Data))
			if at = c.Next(); c.End() {
				break
			}
		}
		require.Equal(t, int64(len(all)), at)
	})
}
