package install

import (
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal gives a command a terminal of its own on which the world's answer is
// typed, or none where it has no answer: then it has none of ours either. What it
// returns gives back what was shown there.
func (w *world) terminal(cmd *exec.Cmd) func() string {
	w.t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if w.answer == "" {
		return func() string { return "" }
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.t.Skipf("no terminals here: %v", err)
	}
	require.NoError(w.t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(w.t, err)
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(w.t, err)
	_, err = io.WriteString(master, w.answer+"\n")
	require.NoError(w.t, err)
	cmd.ExtraFiles = []*os.File{slave}
	cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, 3
	return func() string {
		require.NoError(w.t, slave.Close())
		shown, _ := io.ReadAll(master) // it ends with an error once nobody has the other side
		require.NoError(w.t, master.Close())
		return string(shown)
	}
}
