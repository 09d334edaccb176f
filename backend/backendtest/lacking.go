package backendtest

import (
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// fields set one field each of a spec that may ask for more than a backend has.
// The others are those that every runner needs, and those that Spec allows to be
// passed over.
var fields = map[string]func(*backend.Spec){
	"OS":                 func(s *backend.Spec) { s.OS = "plan9" },
	"Arch":               func(s *backend.Spec) { s.Arch = "mips64p32" },
	"InjectRunner":       func(s *backend.Spec) { s.InjectRunner, s.Entrypoint, s.Command = true, nil, nil },
	"Entrypoint":         func(s *backend.Spec) { s.Entrypoint = []string{"/bin/sh"} },
	"User":               func(s *backend.Spec) { s.User = "nobody" },
	"GPUs":               func(s *backend.Spec) { s.GPUs = -1 },
	"GPUIDs":             func(s *backend.Spec) { s.GPUIDs = []string{"0"} },
	"ShmSize":            func(s *backend.Spec) { s.ShmSize = 64 << 20 },
	"PidsLimit":          func(s *backend.Spec) { s.PidsLimit = 100 },
	"Runtime":            func(s *backend.Spec) { s.Runtime = "runsc" },
	"Network":            func(s *backend.Spec) { s.Network = "none" },
	"Mounts":             func(s *backend.Spec) { s.Mounts = []backend.Mount{{Volume: "cache", Target: "/cache"}} },
	"Tmpfs":              func(s *backend.Spec) { s.Tmpfs = map[string]string{"/scratch": "size=1m"} },
	"CapAdd":             func(s *backend.Spec) { s.CapAdd = []string{"NET_ADMIN"} },
	"CapDrop":            func(s *backend.Spec) { s.CapDrop = []string{"NET_RAW"} },
	"Privileged":         func(s *backend.Spec) { s.Privileged = true },
	"ReadOnly":           func(s *backend.Spec) { s.ReadOnly = true },
	"AllowNewPrivileges": func(s *backend.Spec) { s.AllowNewPrivileges = true },
	"Image":              func(s *backend.Spec) { s.Image = "registry.example/image:1" },
}

func launchLacking(s *suite) {
	for _, field := range need[Lacker](s).Lacks() {
		set := fields[field]
		require.NotNil(s, set, "the suite knows no value for the field %q", field)
		spec := s.spec(s.harness.Runs())
		set(&spec)
		err := s.b.Launch(s.ctx(), spec)
		require.ErrorIs(s, err, backend.ErrInvalid, "a spec with %s, which the backend can't honour", field)
		require.Contains(s, plain(err.Error()), plain(field), "the error names the field, which is %s", field)
		require.NotContains(s, err.Error(), canaryValue, "the environment in an error")
		s.gone(s.b, spec.ID)
	}
}

// plain makes "read-only root" of what names ReadOnly.
func plain(text string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(text))
}
