// Package crashtest kills a program of a test at any moment (SIGKILL), so that the
// test can hold what was promised against what is there.
//
// The program is the test binary itself: TestMain calls Child first, which runs it
// where Kill started the process, and returns at once everywhere else. The program
// says each promise with Say, after it was given, and calls Must with its errors:
//
//	func TestMain(m *testing.M) {
//		crashtest.Child(func(dir string) {
//			for n := 0; ; n++ {
//				crashtest.Must(save(dir, n))
//				crashtest.Say(n)
//			}
//		})
//		m.Run()
//	}
//
//	func TestKilled(t *testing.T) {
//		for _, promise := range crashtest.Kill(t, t.TempDir(), 20) { … }
//	}
package crashtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// folder names the program's data folder to it, in its environment.
const folder = "SLIPWAY_TEST_CRASH_FOLDER"

// tooLong is when a program that has not said enough is killed all the same, and its
// test fails.
const tooLong = 2 * time.Minute

// Child runs program with its data folder, and ends the process when it returns; in a
// process that Kill did not start it does nothing. It is to be the first in TestMain.
func Child(program func(dir string)) {
	if dir := os.Getenv(folder); dir != "" {
		program(dir)
		os.Exit(0)
	}
}

// Must ends the program where err is not nil, and its test fails with the text.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var saying sync.Mutex

// Say tells the test of a promise: one line, as fmt.Println writes it. It may be
// called from many goroutines.
func Say(promise ...any) {
	saying.Lock()
	defer saying.Unlock()
	_, err := fmt.Println(promise...)
	Must(err)
}

// Kill runs the program of Child on a data folder, kills it the moment it has said so
// many promises, and returns all that it said, a line each.
func Kill(t testing.TB, dir string, after int) (promises []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), folder+"="+dir)
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatalf("start the program to be killed: %v", err)
	}
	defer time.AfterFunc(tooLong, func() { _ = child.Process.Kill() }).Stop()
	for reader := bufio.NewReader(out); ; {
		line, err := reader.ReadString('\n')
		if err != nil {
			break // what is cut was not promised
		}
		if promises = append(promises, strings.TrimSuffix(line, "\n")); len(promises) == after {
			_ = child.Process.Kill() // where it has ended, too few lines say so
		}
	}
	_ = child.Wait() // it was killed
	if stderr.Len() > 0 || len(promises) < after {
		t.Fatalf("the program that was to be killed after %d promises gave %d: %s", after, len(promises), stderr.String())
	}
	return promises
}
