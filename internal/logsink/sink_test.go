package logsink

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

func TestLinesArriveInTheirOrder(t *testing.T) {
	var out bytes.Buffer
	s := New(&out)
	var want strings.Builder
	for i := range 1000 {
		line := strings.Repeat("x", i%7) + "\n"
		want.WriteString(line)
		n, err := io.WriteString(s, line)
		require.NoError(t, err)
		require.Equal(t, len(line), n)
	}
	s.Close()
	require.Equal(t, want.String(), out.String())
	_, err := io.WriteString(s, "too late\n")
	require.NoError(t, err)
	s.Close()
	require.Equal(t, want.String(), out.String())
}

// Whoever does not read holds up neither the writer nor its end, and hears later what
// was lost.
func TestAReaderThatStopsHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		s := newSink(writer, 100)
		_, _ = io.WriteString(s, "first\n")
		synctest.Wait() // it is being written, and nobody reads
		for range 50 {
			_, _ = io.WriteString(s, "0123456789\n")
		}
		began := time.Now()
		s.Close()
		require.Equal(t, patience, time.Since(began))

		got := make([]byte, 1000)
		n, err := reader.Read(got)
		require.NoError(t, err)
		require.Equal(t, "first\n", string(got[:n]))
		n, err = reader.Read(got)
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(string(got[:n])), "\n")
		require.Len(t, lines, 10)
		require.Contains(t, lines[9], `"count":41`)
		synctest.Wait()
		s.Close()
		require.Equal(t, patience, time.Since(began), "all is written by now")
	})
}

func TestClean(t *testing.T) {
	secret := tokens.New(tokens.Admin).Reveal()
	var out bytes.Buffer
	n, err := io.WriteString(Clean(&out), "it is "+secret+"\n")
	require.NoError(t, err)
	require.Equal(t, len(secret)+7, n)
	require.NotContains(t, out.String(), secret)
}
