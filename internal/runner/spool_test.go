package runner

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// However much the job writes, only so much is held, and nothing gets lost or
// out of order while the sender takes it.
func TestSpoolIsBoundedAndInOrder(t *testing.T) {
	s := newSpool()
	var want []byte
	for i := range 6 << 20 {
		want = append(want, byte(i*7+i>>11))
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for part := range slices.Chunk(want, maxLogRead-1) {
			_, _ = s.Write(part)
		}
		s.close()
	})
	var got []byte
	for {
		waiting, _, closed := s.state()
		require.LessOrEqual(t, waiting, spoolSize)
		if waiting == 0 && closed {
			break
		}
		if waiting == 0 {
			<-s.wake
			continue
		}
		part := s.head(100_000)
		got = append(got, part...)
		s.drop(len(part))
	}
	writing.Wait()
	require.True(t, bytes.Equal(want, got))
	require.LessOrEqual(t, cap(s.buf), 2*spoolSize)
}

func TestSpoolCuts(t *testing.T) {
	s := newSpool()
	_, _ = s.Write(bytes.Repeat([]byte("a"), spoolSize))
	var waiting sync.WaitGroup
	waiting.Go(func() { _, _ = s.Write([]byte("bb")) }) // waits for room, then is lost
	s.cut(true)
	waiting.Wait()
	_, _ = s.Write([]byte("ccc"))
	s.drop(100)
	_, _ = s.Write([]byte("d"))
	s.close()
	log := s.head(2 * spoolSize)
	require.Equal(t, "aa\n[slipway: 5 bytes of the log are missing here]\nd", string(log[spoolSize-102:]))
}
