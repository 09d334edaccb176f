package standalone

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// chaosEnv is how long the faults go on, such as 10m; default 15 s; CI sets a minute.
const chaosEnv = "TEST_CHAOS"

// maxLive is the template's max_concurrency.
const maxLive = 4

// The real program under kill -9, an engine that is killed, restarted, cut off and
// loses answers, and an API that drops, delays, duplicates and refuses. When all is
// well again, every job has been done, nothing is left, and there were never too many.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes two minutes")
	}
	length := 15 * time.Second
	if text := os.Getenv(chaosEnv); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	own := enginetest.NewDaemon(t, "", "--live-restore") // else a job ends with the engine, as it may
	own.Import()
	d := newDockOn(t, own.Host, "head", templates(t, injected))
	engine := enginetest.NewProxyTo(t, own.Host)
	api := newMeddler(t, d.world.Hub.URL())
	d.env = with(d.env, "DOCKER_HOST", engine.Host, "SHIPFOX_API_URL", api.URL, "SHIPFOX_RUNNER_API_URL", d.world.Hub.URL(),
		"SHIPFOX_PROVISIONER_REGISTRATION_DEADLINE_MS", "10000", "SHIPFOX_RUNNER_POLL_MAX_DURATION_MS", "5000",
		"SHIPFOX_PROVISIONER_POLL_WAIT_SECONDS", "5")
	watched := count(own)

	p, jobs := d.start(), 0
	told := map[string]int{}
	for end := time.Now().Add(length); time.Now().Before(end); {
		// No more than a slow machine can finish afterwards.
		if waiting := jobs - d.world.Count(t)[queue.StateSucceeded]; waiting < 3*maxLive {
			jobs += len(d.world.Submit(t, rand.IntN(4), "sleep 0.3", "linux"))
		}
		api.odds.Store(int64(rand.IntN(25)))
		switch rand.IntN(16) {
		case 0:
			p.kill()
			p = d.start()
			told["kill -9"]++
		case 2:
			engine.Cut()
			pause(700)
			engine.Mend()
			told["cut"]++
		case 3:
			engine.Fault(loseSome)
		case 4:
			engine.Fault(nil)
		case 5:
			own.Kill()
			pause(700)
			own.Start()
			told["engine killed"]++
		case 6:
			own.Stop()
			own.Start()
			told["engine restarted"]++
		}
		pause(1500)
	}
	api.odds.Store(0)
	engine.Fault(nil)
	// A launch that is uncertain is one for its deadline of two minutes; what
	// starts anew knows of none.
	p.kill()
	p = d.start()

	eventually(t, 150*time.Second, func() string {
		if count := d.world.Count(t); count[queue.StateSucceeded] != jobs {
			return fmt.Sprintf("of %d jobs: %v", jobs, count)
		}
		return ""
	})
	eventually(t, time.Minute, func() string {
		if left := d.containers(); len(left) > 0 {
			return fmt.Sprintf("containers are left: %v", left)
		}
		return ""
	})
	require.Eventually(t, func() bool { return p.state(t).State.Templates[0].Free == maxLive }, time.Minute, 100*time.Millisecond, "a slot leaked")
	p.ready()
	most, starts := watched()
	require.LessOrEqual(t, most, maxLive, "max_concurrency was passed")
	require.GreaterOrEqual(t, starts, jobs, "containerd tells of all")
	t.Logf("%d jobs, %d containers started, at most %d at once, %v, %s", jobs, starts, most, told, api.told())
}

// eventually waits until what is wrong is nothing any more.
func eventually(t testing.TB, limit time.Duration, wrong func() string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		last := wrong()
		if last == "" {
			return
		}
		require.False(t, time.Now().After(end), "after %s: %s", limit, last)
	}
}

func pause(most int) {
	timer := time.NewTimer(time.Duration(rand.IntN(most)+1) * time.Millisecond)
	defer timer.Stop()
	<-timer.C
}

// loseSome loses answers of the engine, or cuts requests off, one in ten each.
func loseSome(r *http.Request) enginetest.Fault {
	if strings.HasSuffix(r.URL.Path, "/events") {
		return enginetest.Pass
	}
	switch rand.IntN(10) {
	case 0:
		return enginetest.Lose
	case 1:
		return enginetest.Drop
	}
	return enginetest.Pass
}

// count follows the containers through every restart of the engine. The function
// that it returns tells how many ran at once at most, and how many were started.
func count(own *enginetest.Daemon) func() (most, starts int) {
	live, starts, most := map[string]bool{}, 0, 0
	stop := own.Events(func(event, container string) {
		switch event {
		case "start":
			live[container] = true
			starts++
			most = max(most, len(live))
		case "delete": // the process of the container itself has ended, and was waited for
			delete(live, container)
		}
	})
	return func() (int, int) {
		stop()
		return most, starts
	}
}

// meddler stands before the API and does harm to one request in a hundred times
// odds.
type meddler struct {
	*httptest.Server
	target string
	odds   counter
	refuse string // routes that end so are always refused

	mu   sync.Mutex
	done map[string]int
}

// counter is a number that goroutines share.
type counter struct {
	mu sync.Mutex
	n  int64
}

func (c *counter) Store(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = n
}

func (c *counter) Load() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func newMeddler(t testing.TB, target string) *meddler {
	m := &meddler{target: target, done: map[string]int{}}
	m.Server = httptest.NewServer(m)
	t.Cleanup(func() {
		m.CloseClientConnections()
		m.Close()
	})
	return m
}

func (m *meddler) told() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.done)
}

func (m *meddler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fault := "none"
	if m.refuse != "" && strings.HasSuffix(r.URL.Path, m.refuse) {
		fault = "refuse"
	} else if rand.Int64N(100) < m.odds.Load() {
		fault = []string{"drop", "delay", "duplicate", "lose", "refuse", "limit"}[rand.IntN(6)]
	}
	m.mu.Lock()
	m.done[fault]++
	m.mu.Unlock()
	switch fault {
	case "drop":
		panic(http.ErrAbortHandler)
	case "refuse":
		w.WriteHeader(http.StatusInternalServerError)
		return
	case "limit":
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case "delay":
		timer := time.NewTimer(time.Duration(rand.IntN(1500)) * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	case "duplicate":
		m.forward(httptest.NewRecorder(), r, body)
	case "lose":
		m.forward(httptest.NewRecorder(), r, body)
		panic(http.ErrAbortHandler)
	}
	m.forward(w, r, body)
}

func (m *meddler) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, m.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	res, err := web1.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = res.Body.Close() }()
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body)
}
