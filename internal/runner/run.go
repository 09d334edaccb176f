package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// runner is one run, from hello to result.
type runner struct {
	Config
	api *client
	log hclog.Logger
	dir workDir // of the job
}

// Run takes one job, runs it, reports it, and returns nil; nil too when there
// was no job within the poll duration, or the hub wants this runner no more, or
// ctx ended. End ctx with the cause ErrStopped to have the job under way
// reported as cancelled. ErrUsage and ErrNotSlipway are told apart.
func Run(ctx context.Context, c Config) error {
	c = c.withDefaults()
	api, err := newClient(c)
	if err != nil {
		return err
	}
	defer api.close()
	ctx, cancel := context.WithTimeoutCause(ctx, c.Lifetime, errLifetime)
	defer cancel()
	r := &runner{Config: c, api: api, log: c.Logger}

	switch err := r.run(ctx); {
	case errors.Is(err, errNoJob), errors.Is(err, errNotWanted), errors.Is(err, ErrStopped), errors.Is(err, errLifetime):
		r.log.Info("ending", "reason", err)
		return nil
	default:
		return err
	}
}

func (r *runner) run(ctx context.Context) (err error) {
	// It comes first: a job must not be claimed that can't be run here.
	if r.dir, err = newWorkDir(); err != nil {
		return err
	}
	defer func() {
		if err := r.dir.remove(); err != nil {
			r.log.Warn("remove work folder", "err", err)
		}
	}()
	if err := r.hello(ctx); err != nil {
		return r.because(ctx, "hello", err)
	}
	session, err := r.introduce(ctx)
	if err != nil {
		return r.because(ctx, "register", err)
	}
	claim, err := r.claim(ctx, session)
	if err != nil {
		return r.because(ctx, "claim a job", err)
	}
	r.log.Info("job claimed", "job", claim.JobID)
	return r.work(ctx, claim)
}

// because prefers the reason why ctx ended to the error that this led to.
func (r *runner) because(ctx context.Context, deed string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("%s: %w", deed, err)
}

// reach bounds what must be answered before the runner waits for a job.
func (r *runner) reach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.PollDuration)
}

// hello makes sure that this is a Slipway hub, before anything secret is sent.
func (r *runner) hello(ctx context.Context) error {
	ctx, cancel := r.reach(ctx)
	defer cancel()
	return retry(ctx, r.log, "hello", callTimeout, func(ctx context.Context) error {
		var answer struct {
			Product  string `json:"product"`
			Protocol int    `json:"protocol"`
		}
		err := r.api.call(ctx, http.MethodGet, "api/v1/runner/hello", "", nil, &answer)
		var status *apiError
		switch {
		case errors.As(err, &status) && !isStatus(err, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout):
			return fmt.Errorf("%w: GET %s/api/v1/runner/hello answers %w", ErrNotSlipway, r.URL.Redacted(), err)
		case unreadable(err):
			return fmt.Errorf("%w: GET %s/api/v1/runner/hello: %w", ErrNotSlipway, r.URL.Redacted(), err)
		case err != nil:
			return err
		case answer.Product != "slipway" || answer.Protocol != 1:
			return fmt.Errorf("%w: %s is product %.40q with protocol %d, this runner speaks slipway 1",
				ErrNotSlipway, r.URL.Redacted(), answer.Product, answer.Protocol)
		}
		return nil
	})
}

// claim is what POST /runners/jobs/request answers.
type claim struct {
	JobID string `json:"job_id"`
	Lease string `json:"lease_token"`

	// asked is when the request was sent: the lease is not older.
	asked time.Time
}

// claim polls for the one job.
func (r *runner) claim(ctx context.Context, session string) (claim, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.PollDuration, errNoJob)
	defer cancel()
	pause := newPause(500*time.Millisecond, 5*time.Second)
	for {
		var got claim
		err := retry(ctx, r.log, "claim a job", callTimeout, func(ctx context.Context) error {
			got = claim{asked: time.Now()}
			return r.api.call(ctx, http.MethodPost, "runners/jobs/request", session, nil, &got)
		})
		if err == nil && got.JobID != "" && got.Lease != "" {
			return got, nil
		}
		if isStatus(err, http.StatusConflict) {
			return claim{}, errNotWanted // retired, or the answer to a claim was lost: the lease runs out then
		}
		if err != nil && ctx.Err() == nil {
			return claim{}, err
		}
		if !sleep(ctx, pause.NextBackOff()) {
			return claim{}, context.Cause(ctx)
		}
	}
}
