package hubload

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/hubcmd"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--data" { // slipway-hub itself: nothing has to be built
		os.Exit(command.Run(hubcmd.Root(), os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

func TestASmallLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	require.NoError(t, err)
	l, err := Open(ctx, Config{Program: self, Dir: t.TempDir(), Hosts: 10, Each: 5, ScaleSets: 2})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	now, err := l.look(ctx)
	require.NoError(t, err)
	require.Zero(t, now.held, "there are no runners before Fill")
	require.NoError(t, l.Fill(ctx))
	before, err := l.Usage()
	require.NoError(t, err)
	require.Positive(t, before.CPU)
	require.Greater(t, before.Memory, int64(10<<20))
	require.GreaterOrEqual(t, before.Peak, before.Memory)

	took, err := l.Restart(ctx)
	require.NoError(t, err)
	require.Positive(t, took)
	now, err = l.look(ctx)
	require.NoError(t, err)
	require.Equal(t, seen{ready: 10, held: 50, running: 50}, now, "the same runners, and no others")
	log, err := os.ReadFile(l.Log())
	require.NoError(t, err)
	require.Equal(t, 50, strings.Count(string(log), "adopted"), "the loop found them, and launched none anew")
	require.NotContains(t, string(log), l.admin)
}

func TestReadMetrics(t *testing.T) {
	const text = `# HELP slipway_hosts Hosts, by how they do.
slipway_hosts{state="online"} 3
slipway_hosts{state="ready"} 2
slipway_host_runners{host="a"} 4
slipway_host_runners{host="b"} 1.1e+01
slipway_runners{control_plane="queue",state="running",template="x"} 7
slipway_runners{control_plane="queue",state="starting",template="x"} 1
slipway_runners{control_plane="queue",state="running",template="y"} 5
go_goroutines 12
`
	got, err := readMetrics(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, seen{ready: 2, held: 15, running: 12}, got)
	_, err = readMetrics(strings.NewReader(`slipway_host_runners{host="a"} many`))
	require.Error(t, err)
}

func TestParseUsage(t *testing.T) {
	const stat = "12 (a b) c) S 1 1 1 0 -1 4194560 100 0 0 0 150 25 7 8 20 0 9 0 100 1 1"
	got, err := parseUsage(stat, "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
	require.NoError(t, err)
	require.Equal(t, Usage{CPU: 1750 * time.Millisecond, Memory: 1 << 20, Peak: 2 << 20}, got, "of user and system, not of children")
	_, err = parseUsage("1 (x) S", "")
	require.Error(t, err)
}
