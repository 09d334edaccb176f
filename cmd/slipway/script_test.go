package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/internal/cli"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/hubcmd"
	"github.com/slipway-ci/slipway/internal/demo"
	"github.com/slipway-ci/slipway/internal/runner"
)

var update = flag.Bool("update", false, "write what the scripts compare with anew")

// TestMain makes the test program all the programs that the scripts call.
func TestMain(m *testing.M) {
	process.Main()
	if len(os.Args) == 2 && os.Args[1] == demo.RunnerArgument {
		os.Exit(cli.Main())
	}
	// With the race detector every program would sleep for a second when it ends.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"slipway":        main,
		"slipway-hub":    func() { os.Exit(command.Run(hubcmd.Root(), os.Args[1:])) },
		"slipway-runner": func() { os.Exit(runner.Main(os.Args[1:], os.Environ(), os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DOCKER_HOST", "unix://"+filepath.Join(env.WorkDir, "no-engine.sock"))
			env.Setenv("NO_PROXY", "*")
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "hub": startHub, "stophub": stopHub, "leftovers": leftovers, "interrupt": interrupt, "save": save,
		},
	})
}

// exits CODE PROGRAM ARGS...: runs the program, which must exit with the code and,
// unless that is 0, print one line of error.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if lines := strings.Count(ts.ReadFile("stderr"), "\n"); want == command.ExitUsage && lines != 1 {
		ts.Fatalf("%d lines of error, want 1", lines)
	}
}

// save VARIABLE FILE: keeps the text of a file (or stdout) in a variable.
func save(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: save VARIABLE FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// runningHub is the slipway-hub of a script.
type runningHub struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	token  string
	rest   sync.WaitGroup
}

var hubs sync.Map // by *testscript.TestScript

var enrolment = regexp.MustCompile(`sf_het_[A-Za-z0-9_-]{12}`)

var listening = regexp.MustCompile(`^slipway-hub: listening on (http://\S+)$`)

// hub FLAGS...: starts slipway-hub on a free port with its data in $WORK/data,
// and sets SLIPWAY_URL, and SLIPWAY_TOKEN when it prints one.
func startHub(ts *testscript.TestScript, neg bool, args []string) {
	path, err := exec.LookPath(filepath.Join(binDir(ts), "slipway-hub"))
	ts.Check(err)
	h := &runningHub{cmd: exec.Command(path, append([]string{"--listen", "127.0.0.1:0", "--data", ts.MkAbs("data"), "--container-bridges=false",
		"--min-free", "1KiB", "--min-free-percent", "0.001", "--reserve", "1KiB"}, args...)...)}
	h.cmd.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"))
	h.cmd.Stderr = &h.stderr
	out, err := h.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(h.cmd.Start())
	hubs.Store(ts, h)
	ts.Defer(func() { stopHub(ts, false, nil) })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !listening.MatchString(lines.Text()) {
		ts.Fatalf("the hub says %q and %s", lines.Text(), h.stderr.String())
	}
	ts.Setenv("SLIPWAY_URL", listening.FindStringSubmatch(lines.Text())[1])
	if neg { // no token is expected
		h.rest.Go(func() {
			if text, _ := io.ReadAll(out); strings.Contains(string(text), "sf_") {
				h.token = "printed again"
			}
		})
		return
	}
	for h.token == "" && lines.Scan() {
		if strings.HasPrefix(lines.Text(), "sf_adm_") {
			h.token = lines.Text()
		}
	}
	ts.Setenv("SLIPWAY_TOKEN", h.token)
	h.rest.Go(func() { _, _ = io.Copy(io.Discard, out) })
}

func binDir(ts *testscript.TestScript) string {
	dir, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	return dir
}

// stophub: interrupts the hub, which must exit with code 0 and have logged no secret.
func stopHub(ts *testscript.TestScript, _ bool, _ []string) {
	value, ok := hubs.LoadAndDelete(ts)
	if !ok {
		return
	}
	h := value.(*runningHub)
	ts.Check(h.cmd.Process.Signal(os.Interrupt))
	h.rest.Wait()
	if err := h.cmd.Wait(); err != nil {
		ts.Fatalf("the hub ended with %v: %s", err, h.stderr.String())
	}
	if h.token == "printed again" {
		ts.Fatalf("the admin token was printed on a later start")
	}
	if len(h.token) > 12 && strings.Contains(h.stderr.String(), h.token[12:]) {
		ts.Fatalf("the admin token is in the log")
	}
	if enrolment.MatchString(h.stderr.String()) {
		ts.Fatalf("an enrolment token is in the log: %s", h.stderr.String())
	}
}

// leftovers: fails when a file is left in $TMPDIR, or a process that knows of $WORK.
func leftovers(ts *testscript.TestScript, _ bool, _ []string) {
	entries, err := os.ReadDir(ts.Getenv("TMPDIR"))
	ts.Check(err)
	for _, e := range entries {
		ts.Fatalf("left behind: %s", e.Name())
	}
	folders, err := filepath.Glob("/proc/[0-9]*")
	ts.Check(err)
	for _, folder := range folders {
		environ, _ := os.ReadFile(filepath.Join(folder, "environ"))
		args, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		if strings.Contains(string(environ)+string(args), ts.Getenv("WORK")) {
			ts.Fatalf("left behind: process %s %q", folder, args)
		}
	}
}

// interrupt SIGNAL TEXT CODE PROGRAM ARGS...: runs the program until its output
// has the text, then sends the signal; it must exit with the code.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: interrupt SIGNAL TEXT CODE PROGRAM ARGS...")
	}
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binDir(ts), args[3]), args[4:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"), "WORK="+ts.Getenv("WORK"))
	out, in, err := os.Pipe()
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = in, in
	ts.Check(cmd.Start())
	ts.Check(in.Close())
	var all strings.Builder
	lines := bufio.NewScanner(out)
	sent := false
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		if !sent && strings.Contains(lines.Text(), args[1]) {
			sent = true
			ts.Check(cmd.Process.Signal(signals[args[0]]))
		}
	}
	err = cmd.Wait()
	ts.Check(out.Close())
	ts.Logf("%s", all.String())
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); !sent || code != args[2] {
		ts.Fatalf("signal sent: %v; exit code %s (%v), want %s", sent, code, err, args[2])
	}
}
