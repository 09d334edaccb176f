package backendtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// sane says what is wrong with a listing, whatever is in it. before is when
// List was called.
func sane(listing backend.Listing, before time.Time) error {
	if now := time.Now(); listing.Began.IsZero() || listing.Began.After(now) {
		return fmt.Errorf("the listing asked for at %v began at %v, and now is %v", before, listing.Began, now)
	}
	for i, r := range listing.Runners {
		if i > 0 && listing.Runners[i-1].ID >= r.ID {
			return fmt.Errorf("%s stands after %s: the order is that of the ids, each once", r.ID, listing.Runners[i-1].ID)
		}
		if own, ok := r.Labels[ownLabel]; ok && own != r.ID {
			return fmt.Errorf("runner %s has the labels of %s", r.ID, own)
		}
		if err := saneRunner(r); err != nil {
			return fmt.Errorf("runner %s: %w: %+v", r.ID, err, r)
		}
	}
	for _, secret := range []string{canaryName, canaryValue} {
		if strings.Contains(fmt.Sprintf("%+v", listing), secret) {
			return fmt.Errorf("the listing tells the environment: %s is in it", secret)
		}
	}
	return nil
}

func saneRunner(r backend.Runner) error {
	code := r.ExitCode
	switch r.State {
	case backend.Starting, backend.Running, backend.Stopping:
		if code != nil {
			return fmt.Errorf("it lives and has exit code %d", *code)
		}
		if !r.Finished.IsZero() {
			return fmt.Errorf("it lives and has finished")
		}
	case backend.Exited:
		if code == nil || *code != 0 {
			return fmt.Errorf("it is told as exited, which means with code 0")
		}
	case backend.Failed:
		if code != nil && *code == 0 && !r.OOMKilled {
			return fmt.Errorf("it is told as failed, with code 0")
		}
	case backend.Unknown:
	default:
		return fmt.Errorf("there is no state %q", r.State)
	}
	if early(r.Started, r.Created) || early(r.Finished, r.Started) || early(r.Finished, r.Created) {
		return fmt.Errorf("its times go backwards")
	}
	return nil
}

// early says that a is before b, where both are known.
func early(a, b time.Time) bool { return !a.IsZero() && !b.IsZero() && a.Before(b) }
