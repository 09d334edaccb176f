package agentd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/signals"
	"github.com/slipway-ci/slipway/internal/version"
)

// tailSize is how much a variant of this program has at its end to say what it is:
// a program may be followed by anything.
const tailSize = 64

// tail makes the end of a variant.
func tail(version, mode string) []byte {
	return fmt.Appendf(nil, "%*s", tailSize, " version "+version+" mode "+mode+" ")
}

// playAgent is the agent's program, as the variant that this file is.
func playAgent(is, mode string) int {
	version.Version = is
	trialDeadline = patience // on a machine that is busy
	if mode == "hasty" {
		trialDeadline = 3 * time.Second
	}
	if len(os.Args) > 1 && os.Args[1] == "run" && mode == "crash" {
		fmt.Fprintln(os.Stderr, "this variant crashes at its start")
		return 3
	}
	if mode == "broken" {
		DefaultPolicy = "/proc/self/status" // no policy
	}
	if len(os.Args) > 1 && os.Args[1] == "run" && mode == "hang" {
		ctx, _ := signals.Interruptible(os.Stderr)
		fmt.Fprintln(os.Stderr, "running")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "stopping")
		select {} // what a stop that hangs looks like
	}
	return Main(os.Args[1:])
}

// variant reads what this file is; empty: the tests.
func variant() (is, mode string) {
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", ""
	}
	defer file.Close()
	if _, err := file.Seek(-tailSize, io.SeekEnd); err != nil {
		return "", ""
	}
	end, _ := io.ReadAll(file)
	if fields := strings.Fields(string(end)); len(fields) == 4 && fields[0] == "version" && fields[2] == "mode" {
		return fields[1], fields[3]
	}
	return "", ""
}
