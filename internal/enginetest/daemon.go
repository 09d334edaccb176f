package enginetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Daemon is an engine of the test's own, which may be killed and started anew
// without harm to anybody else's. It leaves the machine's firewall alone, so that
// its containers are in the host's network, or reach this machine and nothing
// beyond. It is stopped, and all of it removed, with the test.
type Daemon struct {
	// Host is its address, for a Config.
	Host string

	t          testing.TB
	dir        string
	args       []string
	dockerd    *service
	containerd *service
}

// service is one program under this test's supervision.
type service struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	over chan struct{}
}

func startService(t testing.TB, args []string) *service {
	t.Helper()
	s := &service{cmd: exec.Command(args[0], args[1:]...), over: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the test is not theirs
	require.NoError(t, s.cmd.Start())
	go func() {
		defer close(s.over)
		_ = s.cmd.Wait()
	}()
	return s
}

// end signals it and waits for its end.
func (s *service) end(t testing.TB, sig os.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("end the test's own engine: %v", err)
	}
	<-s.over
}

// lastWords are the end of its log, once it has ended.
func (s *service) lastWords() string {
	text := s.log.String()
	return text[max(0, len(text)-4000):]
}

// NewDaemon starts an engine of the test's own with the arguments args besides its
// own. Where the test may not start one, it is skipped, or fails when
// TEST_DOCKER=require. netns, when it is not empty, is the path of the network
// namespace that it lives in; there it has the default bridge.
func NewDaemon(t testing.TB, netns string, args ...string) *Daemon {
	t.Helper()
	Engine(t) // where there is no engine at all, this one would not run either
	program, err := exec.LookPath("dockerd")
	if err != nil || os.Getuid() != 0 || runtime.GOOS != "linux" {
		if os.Getenv(RequireEnv) == "require" {
			require.FailNow(t, "an engine of the test's own needs root and dockerd", "%v", err)
		}
		t.Skip("an engine of the test's own needs root and dockerd")
	}
	// Not t.TempDir: the path of a socket has 108 bytes at most.
	dir, err := os.MkdirTemp("", "engine")
	require.NoError(t, err)
	d := &Daemon{Host: "unix://" + dir + "/s", t: t, dir: dir}
	d.args = []string{program}
	var network []string
	if netns == "" {
		name := "swt" + dir[len(dir)-6:] // the name of a device has 15 bytes at most
		bridge(t, name)
		network = []string{"--bridge=" + name, "--iptables=false", "--ip6tables=false", "--ip-masq=false"}
	} else {
		// Not ip netns exec: its own /sys has no control groups.
		d.args = []string{"nsenter", "--net=" + netns, program}
	}
	d.args = append(d.args, "--host="+d.Host, "--data-root="+dir+"/data", "--exec-root="+dir+"/exec", "--pidfile="+dir+"/pid", "--containerd="+dir+"/c",
		"--config-file="+dir+"/daemon.json", "--storage-driver=vfs", "--log-level=warn", "--shutdown-timeout=5")
	d.args = append(append(d.args, network...), args...)
	require.NoError(t, os.WriteFile(dir+"/daemon.json", settings(t, program, dir), 0o600))
	t.Cleanup(d.destroy)
	// On its own, as a service manager runs it: a dockerd that is killed takes the
	// containerd that it started with it.
	containerd, err := exec.LookPath("containerd")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/containerd.toml", []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"), 0o600))
	d.containerd = startService(t, []string{containerd, "--config", dir + "/containerd.toml", "--root", dir + "/containerd", "--state", dir + "/run",
		"--address", dir + "/c", "--log-level", "warn"})
	d.Start()
	return d
}

// settings are those of an engine with an id of its own. Engines before release 23 have
// one for the machine, in /etc/docker; later ones would begin with it.
func settings(t testing.TB, program, dir string) []byte {
	t.Helper()
	out, err := exec.Command(program, "--version").Output() // Docker version 20.10.24+dfsg1, build …
	require.NoError(t, err)
	words := strings.Fields(string(out))
	require.Greater(t, len(words), 2, "dockerd --version: %s", out)
	major, _, _ := strings.Cut(words[2], ".")
	if release, err := strconv.Atoi(major); err == nil && release < 23 {
		return []byte(`{"deprecated-key-path": "` + dir + `/key.json"}`)
	}
	require.NoError(t, os.MkdirAll(dir+"/data", 0o711))
	require.NoError(t, os.WriteFile(dir+"/data/engine-id", []byte(uuid.NewString()), 0o600))
	return []byte("{}")
}

// Client opens a client, which is closed with the test.
func (d *Daemon) Client() *client.Client {
	d.t.Helper()
	c, err := client.NewClientWithOpts(client.WithHost(d.Host), client.WithAPIVersionNegotiation())
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Import gives it the image that BusyboxImage makes, and returns its name.
func (d *Daemon) Import() string {
	d.t.Helper()
	importImage(d.t, d.Client(), Image)
	return Image
}

// Events follows what containers do, as containerd tells it: through every restart
// of dockerd. tell is called with each task's event, such as "start" or "exit", one
// at a time, until the function that Events returns is called.
func (d *Daemon) Events(tell func(event, container string)) (stop func()) {
	d.t.Helper()
	cmd := exec.Command("ctr", "--address", d.dir+"/c", "--namespace", "moby", "events")
	out, err := cmd.StdoutPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			_, rest, ok := strings.Cut(lines.Text(), " /tasks/")
			event, text, _ := strings.Cut(rest, " ")
			var body struct {
				Container string `json:"container_id"`
			}
			if ok && json.Unmarshal([]byte(text), &body) == nil {
				tell(event, body.Container)
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	d.t.Cleanup(stop)
	return stop
}

// Start starts it and waits until it answers.
func (d *Daemon) Start() {
	d.t.Helper()
	d.dockerd = startService(d.t, d.args)
	c := d.Client()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; {
		if _, err := c.Ping(d.t.Context()); err == nil {
			return
		} else if time.Now().After(end) {
			d.dockerd.end(d.t, syscall.SIGKILL)
			require.FailNow(d.t, "the test's own engine does not answer", "%v\n%s", err, d.dockerd.lastWords())
		}
		select {
		case <-tick.C:
		case <-d.dockerd.over:
			require.FailNow(d.t, "the test's own engine has ended", d.dockerd.lastWords())
		}
	}
}

// Stop ends it as a service manager does; containers end with it, unless it was
// told live-restore.
func (d *Daemon) Stop() { d.dockerd.end(d.t, syscall.SIGTERM) }

// Kill ends it as the out-of-memory killer does: containers go on.
func (d *Daemon) Kill() { d.dockerd.end(d.t, syscall.SIGKILL) }

// destroy ends it and everything that is of it, and removes its folder.
func (d *Daemon) destroy() {
	for _, s := range []*service{d.dockerd, d.containerd} {
		if s != nil {
			s.end(d.t, syscall.SIGTERM)
		}
	}
	// What a hard kill left: the shims, and the containers, which are their children.
	for range 50 {
		left := d.processes()
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(left) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.unmount()
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Errorf("left behind by the test's own engine: %v", err)
	}
}

// processes are those of this engine, by its folder in their arguments, and their
// children: the containers.
func (d *Daemon) processes() []int {
	found := map[int]bool{}
	parents := map[int]int{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, _ := strconv.Atoi(filepath.Base(folder))
		args, _ := os.ReadFile(folder + "/cmdline")
		stat, _ := os.ReadFile(folder + "/stat")
		// proc_pid_stat(5): the parent comes second after the name in parentheses.
		if after := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(after) > 1 {
			parents[pid], _ = strconv.Atoi(after[1])
		}
		if pid != os.Getpid() && strings.Contains(string(args), d.dir+"/") {
			found[pid] = true
		}
	}
	pids := slices.Sorted(maps.Keys(found))
	for pid, parent := range parents {
		if found[parent] && !found[pid] {
			pids = append(pids, pid)
		}
	}
	return pids
}

// unmount undoes what it has mounted in its folder, the innermost first.
func (d *Daemon) unmount() {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	lines := strings.Split(string(table), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i]) // proc_pid_mountinfo(5): the fifth is the mount point
		if len(fields) > 4 && strings.HasPrefix(fields[4], d.dir+"/") {
			_ = syscall.Unmount(fields[4], syscall.MNT_DETACH)
		}
	}
}
