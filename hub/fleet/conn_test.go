package fleet_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/tokens"
)

// rawPeer is an agent that costs next to nothing on this side: a socket.
type rawPeer struct{ conn net.Conn }

func dialRaw(address string, token tokens.Token) (*rawPeer, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: slipway-agent\r\nAuthorization: Bearer %s\r\n\r\n", fleet.Path, token.Reveal())
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		conn.Close()
		return nil, fmt.Errorf("upgrade: %v %w", answer, err)
	}
	return &rawPeer{conn}, nil
}

// say sends a text in one masked frame (RFC 6455, section 5.2), with a mask of 0.
func (p *rawPeer) say(text string) error {
	frame := []byte{0x81, 0x80 | 126, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(frame[2:], uint16(len(text)))
	_, err := p.conn.Write(append(frame, text...))
	return err
}

// What a connection costs the hub: goroutines, and bytes of heap and stacks.
func BenchmarkConnection(b *testing.B) {
	const hosts, each = 1000, 20
	token := map[tokens.Digest]string{}
	all := make([]tokens.Token, hosts)
	for i := range all {
		all[i] = tokens.New(tokens.Agent)
		token[all[i].Digest()] = fmt.Sprint("host-", i)
	}
	for b.Loop() {
		f, err := fleet.New(fleet.Config{Authenticate: func(_ context.Context, d tokens.Digest) (string, error) { return token[d], nil }, Heartbeat: time.Minute})
		require.NoError(b, err)
		ctx, cancel := context.WithCancel(b.Context())
		var ran sync.WaitGroup
		ran.Go(func() { _ = f.Run(ctx) })
		server := httptest.NewServer(f.Handler())
		require.Eventually(b, func() bool { _, err := f.List(ctx); return err == nil }, 30*time.Second, time.Millisecond)
		before, goroutines := inUse(), runtime.NumGoroutine()
		peers := make([]*rawPeer, hosts)
		for i := range peers {
			peers[i], err = dialRaw(server.Listener.Addr().String(), all[i])
			require.NoError(b, err)
			require.NoError(b, peers[i].say(`{"type":"hello","hello":{"protocol":1,"agent":"x","facts":{"cpus":64,"os":"linux","arch":"amd64"}}}`))
			require.NoError(b, peers[i].say(`{"type":"runners","epoch":1,"runners":{"runners":[],"last":true}}`))
		}
		ready := func() (n int) {
			for _, h := range f.Hosts() {
				if h.Ready {
					n++
				}
			}
			return n
		}
		require.Eventually(b, func() bool { return ready() == hosts }, 30*time.Second, 10*time.Millisecond)
		b.ReportMetric(float64(inUse()-before)/hosts, "B/conn")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/hosts, "goroutines/conn")
		for i := range peers {
			text := ""
			for n := range each {
				if n > 0 {
					text += ","
				}
				text += fmt.Sprintf(`{"id":"0192f0c2-0001-7000-8000-%06d%06d","state":"running","created":"2026-01-02T03:04:05Z","started":"2026-01-02T03:04:06Z","labels":{"template":"small","labels":"linux,x64","reservation":"0192f0c2-0001-7000-8000-%012d","workspace":"w","registration-deadline":"5m0s","max-lifetime":"6h0m0s","control-plane":"queue"}}`, i, n, n)
			}
			require.NoError(b, peers[i].say(`{"type":"changes","epoch":1,"changes":{"runners":[`+text+`]}}`))
		}
		require.Eventually(b, func() bool { l, _ := f.List(ctx); return len(l.Runners) == hosts*each }, 30*time.Second, 10*time.Millisecond)
		b.ReportMetric(float64(inUse()-before)/hosts/each, "B/runner")
		for _, p := range peers {
			p.conn.Close()
		}
		cancel()
		ran.Wait()
		server.Close()
	}
}

// inUse is what is in use, after a collection.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
