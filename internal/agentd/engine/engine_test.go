package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent/policy"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) {
	process.Main()
	os.Exit(m.Run())
}

// scripted answers with what a test wants.
type scripted struct {
	backend.Backend
	listing backend.Listing
	err     error
	during  func()
	removed []string
}

func (s *scripted) List(context.Context) (backend.Listing, error) { return s.listing, s.err }

func (s *scripted) Launch(context.Context, backend.Spec) error {
	if s.during != nil {
		s.during()
	}
	return s.err
}

func (s *scripted) Remove(_ context.Context, id string) error {
	s.removed = append(s.removed, id)
	return s.err
}

// TestWhetherItCanBeSeen: a change is told once, without secrets, and a look that
// nobody waits for any more tells nothing.
func TestWhetherItCanBeSeen(t *testing.T) {
	var told []string
	b := &scripted{listing: backend.Listing{Runners: []backend.Runner{{State: backend.Running}, {State: backend.Running}, {State: backend.Exited}}}}
	e := observe(b, func(problem string) { told = append(told, problem) })
	look := func(ctx context.Context) (string, map[backend.State]int) {
		_, _ = e.List(ctx)
		_, problem, states := e.Seen()
		return problem, states
	}
	problem, states := look(t.Context())
	require.Empty(t, problem)
	require.Equal(t, map[backend.State]int{backend.Running: 2, backend.Exited: 1}, states)

	secret := tokens.New(tokens.Agent).Reveal()
	b.err = errors.New("refused with " + secret)
	for range 2 {
		problem, states = look(t.Context())
		require.Contains(t, problem, "refused with")
		require.NotContains(t, problem, secret)
		require.Equal(t, 2, states[backend.Running], "what was seen last")
	}
	b.err = nil
	_, _ = look(t.Context())
	require.Len(t, told, 2)
	require.Contains(t, told[0], "refused with")
	require.Empty(t, told[1])

	before, _, _ := e.Seen()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	b.err = gone.Err()
	problem, _ = look(gone)
	require.Empty(t, problem)
	after, _, _ := e.Seen()
	require.Equal(t, before, after)
	require.Len(t, told, 2)
}

func TestLaunchesAreCounted(t *testing.T) {
	b := &scripted{}
	e := observe(b, nil)
	b.during = func() { require.EqualValues(t, 1, e.UnderWay()) }
	for _, b.err = range []error{
		nil, backend.ErrExists, fmt.Errorf("create: %w", backend.ErrExhausted), backend.ErrInvalid, backend.ErrUnavailable, backend.ErrRefused, errors.New("timeout"),
	} {
		require.Equal(t, b.err, e.Launch(t.Context(), backend.Spec{}))
	}
	require.Zero(t, e.UnderWay())
	require.Equal(t, map[string]uint64{"started": 2, "exhausted": 1, "invalid": 1, "unavailable": 1, "refused": 1, "uncertain": 1}, e.Launches())
}

func TestRemoveEnded(t *testing.T) {
	b := &scripted{listing: backend.Listing{Runners: []backend.Runner{
		{ID: "a", State: backend.Running}, {ID: "b", State: backend.Exited}, {ID: "c", State: backend.Unknown}, {ID: "d", State: backend.Failed},
	}}}
	require.NoError(t, observe(b, nil).RemoveEnded(t.Context()))
	require.Equal(t, []string{"b", "d"}, b.removed)
}

// TestDisk: the gauge is of the folder that the engine names, seen from here, and of
// none where the engine is elsewhere.
func TestDisk(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	root := t.TempDir()
	for _, c := range []struct {
		host, dataRoot string
		want           bool
	}{
		{"", "/", true}, {"unix:///run/engine.sock", "/", true}, {"", "/nowhere", false}, {"", "", false}, {"tcp://192.0.2.1:2376", "/", false},
	} {
		e, err := Open(Config{Kind: "docker", Owner: "me", Rules: policy.Default(), DockerHost: c.host, HostRoot: root})
		require.NoError(t, err)
		disk := e.Disk(dockerFacts(c.dataRoot))
		require.Equal(t, c.want, disk.Total > 0, "%+v", c)
		require.NoError(t, e.Close())
	}
	e, err := Open(Config{Kind: "process", Owner: "me", Rules: policy.Default(), Dir: root, Program: "/bin/false"})
	require.NoError(t, err)
	require.Positive(t, e.Disk(dockerFacts("")).Total)
	require.NoError(t, e.Close())
}

// TestRunnersTrustWhatTheAgentTrusts: the file is named to them, wherever they run.
func TestRunnersTrustWhatTheAgentTrusts(t *testing.T) {
	t.Chdir(t.TempDir())
	program, err := filepath.Abs("runner")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\ncat \"$SLIPWAY_CA_FILE\"\n"), 0o700))
	require.NoError(t, os.WriteFile("ca.pem", []byte("an authority\n"), 0o600))
	e, err := Open(Config{Kind: "process", Owner: "me", Rules: policy.Default(), Dir: filepath.Join(t.TempDir(), "runners"), Program: program, RootsFile: "ca.pem"})
	require.NoError(t, err)
	id := uuid.Must(uuid.NewV7()).String()
	require.NoError(t, e.Launch(t.Context(), backend.Spec{ID: id, InjectRunner: true}))
	require.Eventually(t, func() bool {
		listing, err := e.List(t.Context())
		return err == nil && len(listing.Runners) == 1 && listing.Runners[0].State == backend.Exited
	}, time.Minute, 10*time.Millisecond)
	log, err := backend.Logs(t.Context(), e, id, 0)
	require.NoError(t, err)
	text, err := io.ReadAll(log)
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.Equal(t, "an authority\n", string(text))
	require.NoError(t, e.Remove(t.Context(), id))
	require.NoError(t, e.Close())
}

func dockerFacts(dataRoot string) docker.Facts { return docker.Facts{DataRoot: dataRoot} }
