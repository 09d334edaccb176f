package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
)

func BenchmarkOpenNew(b *testing.B) {
	for b.Loop() {
		s, err := store.Open(b.Context(), store.Config{Dir: b.TempDir()})
		require.NoError(b, err)
		require.NoError(b, s.Close())
	}
}

func BenchmarkWrite(b *testing.B) {
	s, err := store.Open(b.Context(), store.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	defer func() { _ = s.Close() }()
	for b.Loop() {
		require.NoError(b, s.Write(b.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES (hex(randomblob(16)), 'x')`)
			return err
		}))
	}
}

// Many at once share their commits.
func BenchmarkWriteParallel(b *testing.B) {
	s, err := store.Open(b.Context(), store.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	defer func() { _ = s.Close() }()
	b.SetParallelism(100)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := s.Write(b.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES (hex(randomblob(16)), 'x')`)
				return err
			}); err != nil {
				b.Error(err)
			}
		}
	})
}
