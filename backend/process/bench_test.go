package process

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

func BenchmarkLaunchAndRemove(b *testing.B) {
	p, err := New(Config{Owner: "owner", Dir: b.TempDir()})
	require.NoError(b, err)
	for b.Loop() {
		spec := backend.Spec{ID: uuid.Must(uuid.NewV7()).String(), Command: []string{"sleep", "600"}}
		require.NoError(b, p.Launch(b.Context(), spec))
		require.NoError(b, p.Remove(b.Context(), spec.ID))
	}
}
