package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/signals"
)

const hangingArgument = "a-demo-that-hangs"

// hanging is the main of a demo whose output hangs as soon as its job runs.
func hanging() int {
	samples[0].Run = "echo asleep; sleep 600"
	ctx, stop := signals.Interruptible(os.Stderr)
	defer stop()
	out := &output{}
	out.then = func(all string) {
		if strings.Contains(all, "| asleep") {
			fmt.Println("asleep")
			select {}
		}
	}
	_ = Run(ctx, Config{Backend: BackendProcess, Jobs: 1, Out: out})
	return 1
}

// Who can't wait for the clean-up is told what it would have done.
func TestTheSecondSignalSaysHowToCleanUp(t *testing.T) {
	alone(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], hangingArgument)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr := &output{}
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	_, err = stdout.Read(make([]byte, 1))
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	require.Eventually(t, func() bool { return cmd.Process.Signal(os.Interrupt) != nil }, 30*time.Second, 50*time.Millisecond)
	require.EqualError(t, <-ended, "exit status 130")

	said := stderr.String()
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "slipway-demo-*"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Contains(t, said, "left behind: runners, which are processes, the folder "+left[0]+"; clear it away with: pkill ")
	require.NotEmpty(t, processesOf(t, left[0]))
	_, command, _ := strings.Cut(strings.TrimSpace(said), "clear it away with: ")
	text, err := exec.Command("sh", "-c", command).CombinedOutput()
	require.NoError(t, err, "%s: %s", command, text)
	require.Eventually(t, func() bool { return len(processesOf(t, left[0])) == 0 }, 30*time.Second, 20*time.Millisecond)
	require.NoDirExists(t, left[0])
}

func TestWhatIsLeftBehind(t *testing.T) {
	dir := "/tmp/it's here"
	require.Equal(t, `left behind: the folder /tmp/it's here; clear it away with: rm -rf '/tmp/it'\''s here'`, leftBehind(dir, "", ""))
	require.Equal(t, leftBehind(dir, "", ""), leftAsProcesses(dir), "no runner yet")
	require.Contains(t, leftOnDocker(dir, "me"), "clear it away with: docker ps -aq --filter label=slipway.owner=me | xargs -r docker rm -fv; rm -rf ")
}
