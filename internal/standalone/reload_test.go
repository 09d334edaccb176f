package standalone

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/tokens"
)

// assembled is a program that does not run, but for what watches its templates. says
// counts the lines of its log that hold a text.
func assembled(t *testing.T, url, file string) (p *program, reload chan<- struct{}, says func(text string) int) {
	t.Helper()
	c, err := Load(nil, environment(with(settingsFor(url, tokens.New(tokens.Provisioner), file), "SLIPWAY_BACKEND", "process", "SLIPWAY_PROCESS_DIR", t.TempDir())))
	require.NoError(t, err)
	var (
		mu  sync.Mutex
		out strings.Builder
	)
	log := hclog.New(&hclog.LoggerOptions{Output: writer(func(line []byte) {
		mu.Lock()
		defer mu.Unlock()
		out.Write(line)
	})})
	p, err = c.assemble(t.Context(), log, nil)
	require.NoError(t, err)
	signals := make(chan struct{})
	var one sync.WaitGroup
	one.Go(func() { p.watchTemplates(t.Context(), signals) })
	t.Cleanup(func() {
		one.Wait()
		p.close()
	})
	return p, signals, func(text string) int {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(out.String(), text)
	}
}

type writer func([]byte)

func (w writer) Write(line []byte) (int, error) {
	w(line)
	return len(line), nil
}

func comes(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 5*time.Millisecond, "it never comes: %s", what)
}

// What comes through a pipe is read once: it is gone then, and an open of a pipe that
// nobody writes to would hang.
func TestTemplatesFromAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	written := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for a reader
		if err == nil {
			_, err = io.WriteString(f, manyTemplates(2))
			err = errors.Join(err, f.Close())
		}
		written <- err
	}()
	_, reload, says := assembled(t, newAPI(t, "head").URL, path)
	require.NoError(t, <-written)
	reload <- struct{}{}
	comes(t, "the refusal", func() bool { return says("it is no regular file: such a one is read once, at the start") == 1 })
	require.Zero(t, says("templates reloaded"))

	require.NoError(t, os.Remove(path)) // a file in its place is as good as any
	require.NoError(t, os.WriteFile(path, []byte(manyTemplates(3)), 0o600))
	comes(t, "the file", func() bool { return says("templates reloaded") > 0 && says("count=3") > 0 })
}

// A good file that comes while the service can't be asked whether it takes so many
// templates is no bad one: it takes effect when it can.
func TestAGoodFileWaitsForTheService(t *testing.T) {
	a := newAPI(t, "head")
	var (
		gone  atomic.Bool
		tries atomic.Int64
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/reconcile") {
			tries.Add(1)
		}
		if gone.Load() && strings.HasSuffix(r.URL.Path, "instances/batch") {
			http.Error(w, `{"code":"not-found"}`, http.StatusNotFound)
			return
		}
		a.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	file := templates(t, oneTemplate)
	p, _, says := assembled(t, server.URL, file)
	gone.Store(true)
	_, err := p.control.Mint(t.Context(), []provisioner.MintRequest{{Runner: "r1", Reservation: "v1"}})
	require.ErrorContains(t, err, "not-found", "by now the generation is not known")
	a.hurt.Store(true)
	require.NoError(t, os.WriteFile(file, []byte(manyTemplates(2)), 0o600))
	comes(t, "the warning", func() bool { return says("the service can't be asked about the template file") == 1 })
	before := tries.Load()
	comes(t, "another try", func() bool { return tries.Load() >= before+3 })
	require.Zero(t, says("templates reloaded"))
	a.hurt.Store(false)
	comes(t, "the new templates", func() bool { return says("templates reloaded") == 1 && says("count=2") == 1 })
	require.Zero(t, says("refused"))
	require.Equal(t, 1, says("the service can't be asked about the template file"), "a repeat is not told again")
}
