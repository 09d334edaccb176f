package crashtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/crashtest"
)

func TestMain(m *testing.M) {
	crashtest.Child(func(dir string) {
		for n := 0; ; n++ {
			name := filepath.Join(dir, strconv.Itoa(n))
			crashtest.Must(os.WriteFile(name, nil, 0o600))
			crashtest.Say("wrote", name)
		}
	})
	m.Run()
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	promises := crashtest.Kill(t, dir, 3)
	require.GreaterOrEqual(t, len(promises), 3)
	for n, promise := range promises {
		name := filepath.Join(dir, strconv.Itoa(n))
		require.Equal(t, "wrote "+name, promise)
		require.FileExists(t, name)
	}
}

// A program that ends by itself fails the test that runs it, in its own words.
func TestAProgramThatFails(t *testing.T) {
	f := &fatal{TB: t}
	var ran sync.WaitGroup
	ran.Go(func() { crashtest.Kill(f, "/dev/null/none", 1) })
	ran.Wait()
	require.Contains(t, f.said, "gave 0: open /dev/null/none/0: not a directory")
}

// fatal takes the end of a test for itself.
type fatal struct {
	testing.TB
	said string
}

func (f *fatal) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
