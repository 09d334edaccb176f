// Command testcount runs go test with its arguments, prints what failed, a line
// a package, and at the end aloud what was skipped and why.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string
	Elapsed                       float64
}

type tally struct {
	passed, failed, skipped int
	reasons                 map[string]int
	output                  map[string][]string // by package and test, until it ends
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(2)
	}
	t := &tally{reasons: map[string]int{}, output: map[string][]string{}}
	t.read(out)
	err = cmd.Wait()
	t.print()
	if err != nil || t.failed > 0 {
		os.Exit(1)
	}
}

func (t *tally) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
			t.take(e)
		} else {
			fmt.Print(line)
		}
		if err != nil {
			return
		}
	}
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		if e.Action == "build-output" {
			fmt.Print(e.Output)
			return
		}
		t.output[key] = append(t.output[key], e.Output)
	case "pass", "skip", "fail":
		t.end(e, key)
		delete(t.output, key)
	}
}

func (t *tally) end(e event, key string) {
	if e.Test == "" {
		if e.Action == "fail" {
			fmt.Print(strings.Join(t.output[key], ""))
		}
		if e.Action != "skip" {
			fmt.Printf("%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
		}
		return
	}
	switch e.Action {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
		t.reasons[reason(t.output[key])]++
	case "fail":
		t.failed++
		fmt.Print(strings.Join(t.output[key], ""))
	}
}

// reason is what t.Skip was given: the last line that go test did not write.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			if _, text, ok := strings.Cut(line, ".go:"); ok {
				_, text, _ = strings.Cut(text, ": ")
				return text
			}
			return line
		}
	}
	return "no reason given"
}

func (t *tally) print() {
	for _, why := range slices.Sorted(maps.Keys(t.reasons)) {
		fmt.Printf("SKIPPED %d: %s\n", t.reasons[why], why)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
}
