package agentd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/internal/logsink"
)

func TestMain(m *testing.M) {
	process.Main()
	if is, mode := variant(); is != "" {
		os.Exit(playAgent(is, mode))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := programs(); err == nil {
			_ = os.RemoveAll(dir)
		}
		os.Exit(code)
	}))
}

// programs is a folder for variants of this program that several tests need.
var programs = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "agentd-test-*") })

// programOf is a variant that several tests start.
func programOf(t *testing.T, version, mode string) string {
	t.Helper()
	dir, err := programs()
	require.NoError(t, err)
	path := filepath.Join(dir, "slipway-agent-"+version+"-"+mode)
	if _, err := os.Stat(path); err != nil {
		variantOf(t, path, version, mode)
	}
	return path
}

// lines is a log that a test reads while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is an agent that runs in this process.
type running struct {
	t    *testing.T
	log  *lines
	stop context.CancelFunc
	done chan error
}

// start runs an agent of a data folder, with the process backend.
func start(t *testing.T, data string, change ...func(*Config)) *running {
	t.Helper()
	r := &running{t: t, log: &lines{}, done: make(chan error, 1)}
	config := Config{
		Data: data, Backend: "process", Tick: 20 * time.Millisecond, DefaultPolicy: filepath.Join(data, "no-policy.yaml"),
		Logger: hclog.New(&hclog.LoggerOptions{Output: logsink.Clean(r.log), Level: hclog.Trace}),
	}
	for _, f := range change {
		f(&config)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r.stop = stop
	go func() { r.done <- Run(ctx, config) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-r.done:
		case <-time.After(patience):
			t.Error("the agent does not stop")
		}
		if t.Failed() {
			t.Logf("the agent wrote:\n%s", r.log)
		}
	})
	return r
}

// ended waits until it has ended, and returns its error.
func (r *running) ended() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err // for the clean-up
		return err
	case <-time.After(patience):
		r.t.Fatalf("it has not ended:\n%s", r.log)
		return nil
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, condition func() bool, format string, args ...any) {
	t.Helper()
	require.Eventuallyf(t, condition, patience, 10*time.Millisecond, format, args...)
}
