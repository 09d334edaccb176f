package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
)

// Why: a job that waits in silence looks like a hub that hangs.
func TestAReasonToWaitIsToldOnceAndAgainWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := func(text string) client.Waiting {
			return client.Waiting{Code: "full", Text: text, ScaleSets: []client.WaitingOnSet{{Name: "a", Code: "full"}}}
		}
		answers := []client.Waiting{
			{Code: "no-scale-set", Text: "no scale set has the label gpu"}, {Code: "no-scale-set", Text: "no scale set has the label gpu"},
			full("4 of 4 runners"), full("5 of 5 runners"), {}, {Code: "hosts-away", Text: "host a:\noffline"}, {Code: "none"},
		}
		var out bytes.Buffer
		began := time.Now()
		followWaits(t.Context(), &out, "j1", func() (client.Waiting, error) {
			next := answers[0]
			if answers = answers[1:]; next.Code == "" {
				return next, errors.New("the hub restarts")
			}
			return next, nil
		})
		require.Equal(t, "job j1 waits: no scale set has the label gpu\njob j1 waits: 4 of 4 runners\njob j1 waits: host a: offline\n", out.String())
		require.Equal(t, waitQuietly+6*waitPace, time.Since(began))
	})
}

func TestNothingIsToldOfAJobThatBeginsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1900*time.Millisecond)
		defer cancel()
		followWaits(ctx, nil, "j1", func() (client.Waiting, error) {
			require.Fail(t, "it is asked")
			return client.Waiting{}, nil
		})
	})
}
