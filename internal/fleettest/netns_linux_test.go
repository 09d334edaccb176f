package fleettest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/internal/enginetest"
)

// namespace is a network namespace of the test's own. It has no name anywhere: it
// is gone when nothing of the test lives in it any more.
type namespace struct {
	t    testing.TB
	file *os.File
}

const currentNetwork = "/proc/thread-self/ns/net"

// newNamespace makes one, with its loopback up.
func newNamespace(t testing.TB) *namespace {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		if os.Getenv(enginetest.RequireEnv) == "require" {
			require.FailNow(t, "network namespaces need root and the program ip (package iproute2)", "%v", err)
		}
		t.Skip("network namespaces need root and the program ip")
	}
	n := &namespace{t: t}
	var err error
	apart(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			n.file, err = os.Open(currentNetwork)
		}
	})
	require.NoError(t, err, "make a network namespace")
	t.Cleanup(func() { _ = n.file.Close() })
	n.ip("link set lo up")
	return n
}

// apart calls deed on a thread that may change its network namespace: it is gone
// afterwards.
func apart(deed func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked
		defer close(done)
		deed()
	}()
	<-done
}

// path is where the namespace is found, for programs that the test starts.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// within puts a program into it.
func (n *namespace) within(args ...string) []string {
	return append([]string{"nsenter", "--net=" + n.path()}, args...)
}

// ip does what the program ip does there.
func (n *namespace) ip(words string) {
	n.t.Helper()
	args := n.within(append([]string{"ip"}, strings.Fields(words)...)...)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	require.NoError(n.t, err, "ip %s: %s", words, out)
}

// dial opens a connection from inside.
func (n *namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	apart(func() {
		if err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		}
	})
	return conn, err
}

// client does requests from inside.
func (n *namespace) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}}
}
