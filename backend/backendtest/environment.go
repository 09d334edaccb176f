package backendtest

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// oddEnv are values that have each broken a shell, a file or an encoding on their
// way into a runner.
var oddEnv = map[string]string{
	"SUITE_EMPTY":   "",
	"SUITE_UNICODE": "größe 東京",
	"SUITE_QUOTES":  `"it's" \"x\" \\ ` + "`y`",
	"SUITE_LINES":   "one\ntwo\n\tthree",
	"SUITE_EQUALS":  "a=b=c",
	"SUITE_SPACES":  "  both ends  ",
	"SUITE_PERCENT": "%s %2F",
	"SUITE_SHELL":   "$HOME $(id) ${x} ; rm *",
	"SUITE_COMMENT": "# none",
}

// ownName names a variable of the process that the suite, and with it a backend,
// lives in: a runner must not get it.
const ownName = "SLIPWAY_CANARY_OF_THE_BACKEND"

// setOwn sets it for good: other promises may be checked at the same time.
var setOwn = sync.OnceValue(func() error { return os.Setenv(ownName, "a token of the provisioner's") })

func launchEnvironment(s *suite) {
	teller := need[Teller](s)
	require.NoError(s, setOwn())
	specs := []backend.Spec{s.spec(teller.Tells()), s.spec(teller.Tells())}
	for _, spec := range specs {
		maps.Copy(spec.Env, oddEnv)
		spec.Env["SUITE_OWN"] = spec.ID
		s.launchSpec(s.b, spec)
	}
	for i, spec := range specs {
		text, missing := "", ""
		s.eventually("it has printed its environment", func() bool {
			text = s.told(spec.ID)
			missing = ""
			for name, value := range spec.Env {
				if !strings.Contains(text, name+"="+value+"\n") {
					missing = name
				}
			}
			return missing == ""
		}, func() string { return "it lacks " + missing + ":\n" + text })
		require.NotContains(s, text, ownName, "the environment of the backend's own process")
		require.NotContains(s, text, specs[1-i].ID, "the environment of another runner")
	}
}

// told is what the runner id has printed: by the backend's Logs, or the harness's
// where the backend has none.
func (s *suite) told(id string) string {
	s.Helper()
	return s.readFrom(func(ctx context.Context) (io.ReadCloser, error) {
		log, err := backend.Logs(ctx, s.b, id, 0)
		if own, ok := s.harness.(backend.Logger); ok && errors.Is(err, errors.ErrUnsupported) {
			return own.Logs(ctx, id, 0)
		}
		return log, err
	})
}
