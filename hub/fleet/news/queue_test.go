package news

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAQueueIsBoundedAndTellsTheNewest(t *testing.T) {
	var told []Event
	q := NewQueue(func(e Event) { told = append(told, e) })
	q.Put(Event{Kind: Connected, Host: "lost"})
	q.Put(Event{Kind: StatsTold, Host: "a", Epoch: 1})
	q.Put(Event{Kind: StatsTold, Host: "a", Epoch: 2})
	q.Put(Event{Kind: FactsTold, Host: "a", Epoch: 2})
	q.Put(Event{Kind: StatsTold, Host: "a", Epoch: 2, Agent: "newer"})
	for range most - 3 {
		q.Put(Event{Kind: Disconnected, Host: "b"})
	}
	q.End()
	q.Run()
	require.Len(t, told, most)
	require.Equal(t, StatsTold, told[0].Kind)
	require.Equal(t, uint64(1), told[0].Epoch)
	require.Equal(t, FactsTold, told[1].Kind)
	require.Equal(t, "newer", told[2].Agent)
	require.Equal(t, "b", told[most-1].Host)
	require.False(t, told[0].At.IsZero())

	q = NewQueue(nil)
	q.Put(Event{Kind: Connected})
	q.End()
	q.Run()
	require.Empty(t, q.queue)
}
