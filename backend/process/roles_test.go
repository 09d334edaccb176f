package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// roles are the programs that tests start from this one, by roleName.
var roles = map[string]func([]string) error{
	"daemon":   playDaemon,
	"sleeper":  playSleeper,
	"launcher": playLauncher,
	"remover":  func(args []string) error { return removeTree(args[0]) },
}

// playDaemon leaves a process behind that has left its group, its session and
// its parent, as daemons do. args: where that writes its pid, how to start
// daemon or sleeper next ("bare": with an empty environment, "home": with HOME
// alone, "marked": with all of it), how often.
func playDaemon(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: file bare|home|marked times [stay]")
	}
	times, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	next := "sleeper"
	if times > 1 {
		next = "daemon"
	}
	cmd := exec.Command(self, args[0], args[1], strconv.Itoa(times-1))
	cmd.Env = []string{roleName + "=" + next}
	switch args[1] {
	case "marked":
		cmd.Env = append(os.Environ(), cmd.Env...)
	case "home":
		cmd.Env = append(cmd.Env, "HOME="+os.Getenv("HOME"))
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if len(args) > 3 { // the runner itself
		for readPid(args[0]) == 0 {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("daemon runs")
		if args[3] == "stay" {
			select {}
		}
	}
	return nil
}

// playSleeper runs until it is killed.
func playSleeper(args []string) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	if err := os.WriteFile(args[0]+".new", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	if err := os.Rename(args[0]+".new", args[0]); err != nil {
		return err
	}
	for {
		time.Sleep(time.Hour)
	}
}

func readPid(file string) int {
	data, _ := os.ReadFile(file)
	pid, _ := strconv.Atoi(string(data))
	return pid
}

// daemon is a spec whose runner leaves a daemon behind, and then ends or stays.
func daemon(t *testing.T, file, how, then string) backend.Spec {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return backend.Spec{
		ID: newID(t), Env: map[string]string{roleName: "daemon"},
		Command: []string{self, file, how, "2", then},
	}
}

// playLauncher launches the runners args[2:] for the owner "owner" in the folder
// args[0], each with the script args[1], and never ends.
func playLauncher(args []string) error {
	b, err := New(Config{Owner: "owner", Dir: args[0], StopGrace: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	for _, id := range args[2:] {
		err := b.Launch(context.Background(), backend.Spec{
			ID: id, Command: []string{"sh", "-c", args[1]}, Labels: map[string]string{"template": "small"},
		})
		if err != nil {
			return err
		}
		fmt.Println("launched", id)
	}
	fmt.Println("launched all")
	select {}
}

// launcher starts a process that launches. It can be killed.
func launcher(t *testing.T, dir, script string, ids ...string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, append([]string{dir, script}, ids...)...)
	cmd.Env = append(os.Environ(), roleName+"=launcher")
	out := &strings.Builder{}
	cmd.Stderr = out
	return cmd, out
}

// innocent is a process that nobody but the test may end.
func innocent(t *testing.T) ident {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Kill(), "it was ended by somebody else")
		_ = cmd.Wait()
	})
	p, err := lookup(cmd.Process.Pid)
	require.NoError(t, err)
	return p.ident
}
