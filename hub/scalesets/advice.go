package scalesets

import (
	"fmt"

	"github.com/slipway-ci/slipway/provisioner"
)

// Exit codes that say something by themselves: a shell's of a command that can't be
// run or is not there, and slipway-runner's where it could not introduce itself, and
// where something else answers at the hub's URL (docs/runner.md).
const (
	exitNoAccess   = 1
	exitNoHub      = 3
	exitNotRunable = 126
	exitNotFound   = 127
)

// advice is what to look at when runners come to nothing.
func (s ScaleSet) advice(row provisioner.Row, url string) string {
	last := row.Last
	reach := fmt.Sprintf("is %s reachable from their containers?", url)
	look := fmt.Sprintf("slipway runners logs %s may say why", last.Runner)
	switch last.Reason {
	case provisioner.ReasonRegistrationDeadline:
		if s.InjectRunner {
			return reach
		}
		return reach + " Does the image start a runner? (inject_runner puts one in)"
	case provisioner.ReasonLaunchDeadline:
		return "the engine was asked and never started them; look at the engine of the host"
	case provisioner.ReasonOutOfMemory:
		return fmt.Sprintf("give it more memory than %v", Size(s.Memory).value())
	case provisioner.ReasonRefused:
		return "the policy of the host does not allow it; change the scale set, or the policy there"
	case provisioner.ReasonInvalid:
		return "the engine can't run it so; change the scale set"
	case provisioner.ReasonExitCode:
		return s.ofExit(last, row.Registered, reach, look)
	default:
		return look
	}
}

func (s ScaleSet) ofExit(last provisioner.End, registered bool, reach, look string) string {
	switch code := last.ExitCode; {
	case code == nil:
		return look
	case registered:
		return "they came to the hub and left again; " + look
	case *code == 0 && !s.InjectRunner:
		return "does the image start a runner? (inject_runner puts one in) " + look
	case *code == exitNotRunable, *code == exitNotFound:
		return "its command is not in the image, or can't be run there; " + look
	case *code == exitNoAccess && s.InjectRunner, *code == exitNoHub:
		return reach + " " + look
	default:
		return look + "; " + reach
	}
}
