package sight

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

func TestWhatIsTold(t *testing.T) {
	launched, began, over := time.Unix(1, 0), time.Unix(2, 0), time.Unix(3, 0)
	runs := &wire.Runner{ID: "r", State: backend.Running, Created: began, Started: began}
	ends := &wire.Runner{ID: "r", State: backend.Failed, ExitCode: new(3), Error: "its own", Started: began, Finished: over}
	base := backend.Runner{ID: "r", Host: "a", Created: launched}
	with := func(change func(*backend.Runner)) backend.Runner {
		r := base
		change(&r)
		return r
	}
	running := with(func(r *backend.Runner) { r.State, r.Created, r.Started = backend.Running, began, began })
	ended := with(func(r *backend.Runner) {
		r.State, r.ExitCode, r.Error, r.Started, r.Finished = backend.Failed, new(3), "its own", began, over
	})
	for name, c := range map[string]struct {
		seen           *wire.Runner
		observed, lost bool
		want           backend.Runner
	}{
		"seen":                {runs, true, false, running},
		"away":                {runs, false, false, with(func(r *backend.Runner) { r.State, r.Created = backend.Unknown, began })},
		"lost":                {runs, false, true, with(func(r *backend.Runner) { *r = running; r.State, r.Error = backend.Failed, HostLost })},
		"ended":               {ends, true, false, ended},
		"ended, away":         {ends, false, false, ended},
		"ended, lost":         {ends, false, true, ended},
		"never seen, away":    {nil, false, false, with(func(r *backend.Runner) { r.State = backend.Unknown })},
		"never seen and lost": {nil, false, true, with(func(r *backend.Runner) { r.State, r.Error = backend.Failed, HostLost })},
	} {
		t.Run(name, func(t *testing.T) {
			s := Sight{ID: "r", Host: "a", Seen: c.seen, Created: launched, Observed: c.observed, Lost: c.lost}
			require.Equal(t, c.want, s.Tell())
			require.Equal(t, c.want.State, s.State())
		})
	}
}
