package records

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGoneIsBounded(t *testing.T) {
	var g Gone[int]
	now := time.Unix(1e9, 0)
	_, ok := g.Of("r", now)
	require.False(t, ok)
	for n := range mostGone + 7 {
		g.Add(strconv.Itoa(n), n, now)
	}
	require.Len(t, g.of, mostGone)
	require.Len(t, g.order, mostGone)
	_, ok = g.Of("6", now)
	require.False(t, ok, "the oldest give way")
	n, ok := g.Of("7", now.Add(goneFor-1))
	require.True(t, ok)
	require.Equal(t, 7, n)
	_, ok = g.Of("7", now.Add(goneFor))
	require.False(t, ok)

	g.Add("7", 70, now.Add(time.Minute)) // it came again, and went
	g.Add("new", 1, now.Add(goneFor))
	require.Len(t, g.of, 2)
	n, _ = g.Of("7", now.Add(goneFor))
	require.Equal(t, 70, n)
}
