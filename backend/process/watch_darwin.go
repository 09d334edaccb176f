package process

import (
	"context"
	"errors"
)

// watchFolder is not there on this system.
func watchFolder(context.Context, string, func()) error { return errors.ErrUnsupported }
