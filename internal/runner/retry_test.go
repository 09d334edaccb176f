package runner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// That the time is over says nothing of what was wrong.
func TestTheEndOfTriesSaysWhatWasWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		wrong, tries := errors.New("an unknown certificate"), 0
		err := retry(ctx, hclog.NewNullLogger(), "hello", time.Minute, func(ctx context.Context) error {
			if tries++; tries < 3 {
				return wrong
			}
			<-ctx.Done()
			return ctx.Err()
		})
		require.Equal(t, wrong, err)
	})
}
