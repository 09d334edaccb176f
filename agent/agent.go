package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/tokens"
)

// Agent serves one backend to one hub. Make it with New.
type Agent struct {
	config   Config
	log      hclog.Logger
	endpoint string
	instance string // by which the hub tells us from another agent with our data
	mirror   *mirror
	work     *work
	facts    facts
	wake     chan struct{} // to look; of one, so that wakes coalesce
	running  atomic.Bool
	removed  bool           // the hub said so, and let us in no more since; connect's own
	welcomed time.Time      // when the hub let us in last; connect's own
	admitted tokens.Token   // with what; connect's own
	deeds    sync.WaitGroup // everything that Run waits for
}

// New makes an agent; Run runs it.
func New(config Config) (*Agent, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	endpoint, _ := config.endpoint() // validated
	return &Agent{
		config: config, log: config.Logger, endpoint: endpoint, instance: rand.Text(),
		mirror: newMirror(), work: newWork(), wake: make(chan struct{}, 1), facts: facts{now: config.Facts},
	}, nil
}

// Run keeps a session with the hub until ctx ends, whatever happens to the
// network, the hub and the engine. What is under way then is cut off, and all
// that was started has ended when Run returns nil. Runners are left alone. An
// agent runs once; a second call panics.
func (a *Agent) Run(ctx context.Context) error {
	if a.running.Swap(true) {
		panic("agent: Run was called twice")
	}
	a.deeds.Go(func() { a.watch(ctx) })
	a.deeds.Go(func() { a.look(ctx) })
	if a.config.Look != nil {
		a.deeds.Go(func() { a.lookAtHost(ctx) })
	}
	a.connect(ctx)
	a.deeds.Wait()
	return nil
}

// poke asks for a look soon.
func (a *Agent) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// watch turns the backend's hints into looks.
func (a *Agent) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := backend.Watch(ctx, a.config.Backend, a.poke)
		if errors.Is(err, errors.ErrUnsupported) {
			a.tick(ctx, min(a.config.LookInterval, 2*time.Second))
			return
		}
		a.poke()
		sleep(ctx, min(a.config.LookInterval, time.Second))
	}
}

func (a *Agent) tick(ctx context.Context, every time.Duration) {
	for sleep(ctx, every) {
		a.poke()
	}
}

// look looks at the backend when something hints at a change, and on a slow tick.
func (a *Agent) look(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
		next := a.config.LookInterval
		if !a.lookOnce(ctx) {
			next = min(next, time.Second)
		}
		a.enforce(ctx)
		if !sleep(ctx, a.config.LookSpacing) {
			return
		}
		timer.Reset(next)
	}
}

// lookOnce looks, and says whether it saw anything.
func (a *Agent) lookOnce(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, a.config.LookTimeout)
	defer cancel()
	start := a.mirror.lookBegins()
	listing, err := a.config.Backend.List(limited)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		a.log.Debug("list", "err", tokens.Redact(err.Error()))
	}
	a.mirror.looked(start, listing, err)
	return err == nil
}

// enforce ends what is past its maximum lifetime while no hub can.
func (a *Agent) enforce(ctx context.Context) {
	for _, id := range a.mirror.overdue(time.Now(), a.config.CutOff) {
		if !a.work.claimEnding(id) {
			continue
		}
		a.log.Info("remove", "runner", id, "reason", "max-lifetime while the hub is out of reach")
		a.deeds.Go(func() {
			defer a.work.releaseEnding(id)
			limited, cancel := context.WithTimeout(ctx, a.config.CallTimeout)
			defer cancel()
			if err := a.remove(limited, a.work.cutOff(id), id); err != nil {
				a.log.Warn("remove", "runner", id, "err", tokens.Redact(err.Error()))
				return
			}
			a.mirror.removeEnded(nil, 0, id, nil)
		})
	}
}

// sleep waits for d, and says whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
