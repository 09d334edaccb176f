package flight

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errBad = errors.New("bad")

func TestTheOthersGetAsLongAgain(t *testing.T) {
	for name, c := range map[string]struct {
		good, bad, most, want time.Duration // good: 0: none is
		err                   error
	}{
		"all end soon":        {time.Second, 1500 * time.Millisecond, 10 * time.Second, 1500 * time.Millisecond, nil},
		"one hangs":           {2 * time.Second, time.Hour, 10 * time.Second, 4 * time.Second, nil},
		"one hangs for long":  {time.Minute, time.Hour, 10 * time.Second, 70 * time.Second, nil},
		"one is there before": {time.Nanosecond, time.Hour, 10 * time.Second, leastGrace, nil},
		"none is good":        {0, 3 * time.Second, 10 * time.Second, 3 * time.Second, errBad},
		"its caller leaves":   {0, time.Hour, 10 * time.Second, 2 * time.Minute, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				flights, began := []*Flight{New(), New()}, time.Now()
				time.AfterFunc(c.bad, func() { flights[0].Land(errBad) })
				if c.good > 0 {
					time.AfterFunc(c.good, func() { flights[1].Land(nil) })
				} else {
					time.AfterFunc(c.bad, func() { flights[1].Land(errBad) })
				}
				require.ErrorIs(t, Await(ctx, flights, c.most), c.err)
				require.Equal(t, c.want, time.Since(began).Truncate(time.Millisecond))
			})
		})
	}
}
