package hostile_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// probe measures how long a launch on an honest host takes, from the job's
// submission on.
type probe struct {
	site    *site
	started chan time.Time
}

func (s *site) probe(name string) *probe {
	p := &probe{site: s, started: make(chan time.Time, 1000)}
	s.enrol(name, 1000).honest(memory.Config{Observe: func(e memory.Event) {
		if e.Kind == memory.Launched {
			p.started <- time.Now()
		}
	}})
	return p
}

// median is that of some launches, one after the other.
func (p *probe) median() time.Duration {
	p.site.t.Helper()
	var took []time.Duration
	for range 7 {
		began := time.Now()
		p.site.jobs("small", 1)
		select {
		case at := <-p.started:
			took = append(took, at.Sub(began))
		case <-time.After(patience):
			require.Fail(p.site.t, "a job gets no runner")
		}
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// meanwhile runs the attack again and again while it measures.
func (p *probe) meanwhile(attack func() bool) (took time.Duration, attacks int) {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				attack()
				attacks++
			}
		}
	})
	began := time.Now()
	took = p.median()
	<-time.After(400*time.Millisecond - time.Since(began)) // the attack's own time
	close(stop)
	done.Wait()
	return took, attacks
}

// Why: what an agent may say is bounded in size and in rate, and no rate of it
// holds up the hosts beside it, or has the hub grow.
func TestAFloodHoldsUpNoOtherHost(t *testing.T) {
	s := newSite(t)
	p := s.probe("good")
	bad := s.enrol("bad", 8)
	s.scaleSet("small", 1000)
	s.must("POST", "/api/v1/hosts/bad/cordon", "", nil)
	calm := p.median()

	const n = 2000
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"id":%q,"state":"%%s","labels":{"template":"small","x":"%s"}}`, uuid.Must(uuid.NewV7()), strings.Repeat("x", 400))
	}
	states := []string{"running", "exited"}
	frames := func(form string, epoch uint64) (out [][]byte) {
		for i := range 4 {
			part := strings.ReplaceAll(strings.Join(list[i%2*1000:i%2*1000+1000], ","), "%s", states[i/2])
			out = append(out, []byte(fmt.Sprintf(form, epoch, part)))
		}
		return out
	}
	facts := func(n int) string {
		return fmt.Sprintf(`{"cpus":%d,"memory":%d,"os":"linux","arch":"amd64","disk":{"free":%d,"total":9007199254740993}}`, n, int64(1)<<62, n)
	}
	for name, make := range map[string]func(l *liar) func(i int) bool{
		"changes": func(l *liar) func(int) bool {
			all := frames(`{"type":"changes","epoch":%d,"changes":{"runners":[%s]}}`, l.epoch)
			return func(i int) bool { return l.send(all[i%len(all)]) }
		},
		"lists": func(l *liar) func(int) bool {
			all := frames(`{"type":"runners","epoch":%d,"runners":{"runners":[%s],"last":true}}`, l.epoch)
			return func(i int) bool { return l.send(all[i%len(all)]) }
		},
		"small lists": func(l *liar) func(int) bool {
			return func(int) bool {
				return l.say(`{"type":"runners","epoch":%d,"runners":{"runners":[],"last":true}}`, l.epoch)
			}
		},
		"facts": func(l *liar) func(int) bool {
			return func(i int) bool { return l.say(`{"type":"facts","epoch":%d,"facts":%s}`, l.epoch, facts(i%60000)) }
		},
		"blindness": func(l *liar) func(int) bool {
			return func(i int) bool {
				return l.say(`{"type":"blind","epoch":%d,"error":{"code":"internal","message":%q}}`, l.epoch, strings.Repeat("\x1b[31m", 500))
			}
		},
		"answers": func(l *liar) func(int) bool {
			return func(i int) bool {
				return l.say(`{"type":"answer","epoch":%d,"id":%d,"error":{"code":"invalid","message":"no"}}`, l.epoch, i%50)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, goroutines := heap(), runtime.NumGoroutine()
			l := bad.connect(facts(8), silent)
			l.say(`{"type":"runners","epoch":%d,"runners":{"runners":[],"last":true}}`, l.epoch)
			attack, i := make(l), 0
			took, attacks := p.meanwhile(func() bool {
				if i++; !attack(i) {
					<-l.ended
					l = bad.connect(facts(8), silent)
					attack = make(l)
				}
				return true
			})
			grown := heap() - before
			t.Logf("launch took %s, %s in calm; %d frames; heap +%d KiB; goroutines +%d; log %d KiB", took, calm, attacks, grown>>10, runtime.NumGoroutine()-goroutines, len(s.log.String())>>10)
			require.Less(t, took, time.Second)
			require.Less(t, grown, int64(64<<20))
			require.Less(t, runtime.NumGoroutine(), goroutines+50)
			_ = l.conn.Close()
			<-l.ended
		})
	}
}

// Why: whoever comes again and again, with a good credential or none, costs others
// nothing.
func TestConnectionsWithoutEndHoldUpNoOtherHost(t *testing.T) {
	s := newSite(t)
	p := s.probe("good")
	bad := s.enrol("bad", 8)
	s.scaleSet("small", 1000)
	s.must("POST", "/api/v1/hosts/bad/cordon", "", nil)
	calm := p.median()
	address := strings.TrimPrefix(s.url, "http://")
	for name, attack := range map[string]func() bool{
		"bad tokens": func() bool {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprintf(conn, upgrade, wire.Path, tokens.New(tokens.Agent).Reveal())
			_, _ = conn.Read(make([]byte, 64))
			return true
		},
		"reconnects": func() bool {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprintf(conn, upgrade, wire.Path, bad.token.Reveal())
			_, _ = conn.Write(masked(fmt.Sprintf(`{"type":"hello","hello":{"protocol":1,"agent":%q,"version":"v1.0.%d","facts":{"cpus":4}}}`, bad.agent, time.Now().UnixNano())))
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			for text := ""; !strings.Contains(text, "heartbeat_ms"); { // of the welcome
				more := make([]byte, 512)
				n, err := conn.Read(more)
				if err != nil {
					return false
				}
				text += string(more[:n])
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, goroutines, said := heap(), runtime.NumGoroutine(), len(s.log.String())
			began := time.Now()
			took, attacks := p.meanwhile(attack)
			seconds := time.Since(began).Seconds()
			said = len(s.log.String()) - said
			t.Logf("launch took %s, %s in calm; %d connections; heap +%d KiB; goroutines +%d; log %d KiB, %.0f KiB/s", took, calm, attacks, (heap()-before)>>10, runtime.NumGoroutine()-goroutines, said>>10, float64(said>>10)/seconds)
			require.Less(t, took, time.Second)
			require.Less(t, heap()-before, int64(64<<20))
		})
	}
}

// Why: connections that do nothing are ended, and cost little until then.
func TestThousandsOfIdleConnectionsHoldUpNobody(t *testing.T) {
	s := newSite(t)
	p := s.probe("good")
	bad := s.enrol("bad", 8)
	s.scaleSet("small", 1000)
	address := strings.TrimPrefix(s.url, "http://")
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	before, goroutines := heap(), runtime.NumGoroutine()
	for i := range 3000 {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		open = append(open, conn)
		switch i % 3 {
		case 0: // a head that does not end
			_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: hub\r\nX-A: "))
		case 1: // a body that does not come
			_, _ = fmt.Fprintf(conn, "POST /api/v1/agent/enrol HTTP/1.1\r\nHost: hub\r\nContent-Length: 4000\r\nAuthorization: Bearer %s\r\n\r\n{", tokens.New(tokens.Enrolment).Reveal())
		case 2: // an agent without a hello
			_, _ = fmt.Fprintf(conn, upgrade, wire.Path, bad.token.Reveal())
		}
	}
	took := p.median()
	t.Logf("launch took %s; heap +%d KiB; goroutines +%d", took, (heap()-before)>>10, runtime.NumGoroutine()-goroutines)
	require.Less(t, took, time.Second)
	require.Less(t, heap()-before, int64(128<<20))
}

const upgrade = "GET %s HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: slipway-agent\r\nAuthorization: Bearer %s\r\n\r\n"

// masked is a text message (RFC 6455, section 5.2), with a mask of 0.
func masked(text string) []byte {
	frame := []byte{0x81, 0x80 | 126, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(frame[2:], uint16(len(text)))
	return append(frame, text...)
}
