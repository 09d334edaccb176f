package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	killGrace = 10 * time.Second // between TERM and KILL
	stopGrace = 5 * time.Second  // the same when the runner is stopped: an engine gives it ten in all
)

// job is what GET /api/v1/runner/job answers.
type job struct {
	ID           string            `json:"job_id"`
	Attempt      int               `json:"attempt"`
	Name         string            `json:"name"`
	Run          string            `json:"run"`
	Command      []string          `json:"command"`
	Env          map[string]string `json:"env"`
	Timeout      float64           `json:"timeout_seconds"`
	RenewSeconds float64           `json:"renew_seconds"`
	LeaseTTL     float64           `json:"lease_ttl_seconds"`
}

// result is what POST /api/v1/runner/result takes.
type result struct {
	Outcome  string `json:"outcome"`
	ExitCode *int   `json:"exit_code"`
	Reason   string `json:"reason"`
	LogBytes int64  `json:"log_bytes"`
}

// work sees the claimed job through. When ctx ends the job is ended; the calls
// about it go on without ctx.
func (r *runner) work(ctx context.Context, c claim) error {
	calls, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	ctx, end := context.WithCancelCause(ctx)
	held := newLease(r.api, r.log, c)
	var keeper sync.WaitGroup
	keeper.Go(func() { held.keep(calls, end) })
	defer keeper.Wait()
	defer hangUp()
	defer end(nil)

	var j job
	err := retry(ctx, r.log, "fetch job", callTimeout, func(ctx context.Context) error {
		return r.api.call(ctx, http.MethodGet, "api/v1/runner/job", held.current(), nil, &j)
	})
	if err != nil && context.Cause(ctx) == nil {
		return fmt.Errorf("fetch job: %w", err)
	}
	held.set(seconds(j.RenewSeconds), seconds(j.LeaseTTL))

	logs := &sender{api: r.api, log: r.log, spool: newSpool(), token: held.current, stall: r.stall}
	var sending sync.WaitGroup
	sending.Go(func() { logs.run(calls, end) })
	res, cause := r.execute(ctx, j, logs.spool)
	if errors.Is(cause, errLeaseEnded) || errors.Is(cause, errLeaseLost) {
		hangUp() // what is sent now would change nothing
		sending.Wait()
		return cause
	}
	sending.Wait()
	unsent, _, _ := logs.spool.state()
	res.LogBytes = logs.offset + int64(unsent)
	return r.report(calls, held, res)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// execute runs the job until it ended, or ctx did, and closes the spool. The
// cause is why the job was ended; nil when it ended by itself.
func (r *runner) execute(ctx context.Context, j job, logs *spool) (res result, cause error) {
	defer logs.close()
	if cause := context.Cause(ctx); cause != nil {
		return resultOf(cause, nil, nil), cause
	}
	if timeout := seconds(j.Timeout); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimedOut)
		defer cancel()
	}
	p, err := start(r.dir, j, jobEnv(r.Env, j, r.dir))
	if err != nil {
		return resultOf(nil, nil, err), nil
	}
	r.log.Info("job started", "job", j.ID)
	told := context.AfterFunc(ctx, func() { r.log.Info("ending job", "job", j.ID, "reason", context.Cause(ctx)) })
	defer told()
	var reading sync.WaitGroup
	reading.Go(func() { p.read(logs) })
	code, cause := p.wait(ctx, r.grace)
	p.sweep()
	reading.Wait()
	r.log.Info("job ended", "job", j.ID, "exit_code", code)
	return resultOf(cause, &code, nil), cause
}

// resultOf names how the job ended: by cause, or by its exit code, or never
// begun for err.
func resultOf(cause error, code *int, err error) result {
	res := result{Outcome: "failed", ExitCode: code}
	switch {
	case err != nil:
		res.Reason = fmt.Sprintf("%.500s", err.Error())
	case cause == nil && code != nil && *code == 0:
		res.Outcome = "succeeded"
	case cause == nil && code != nil:
		res.Reason = fmt.Sprintf("exit code %d", *code)
	case errors.Is(cause, errTimedOut), errors.Is(cause, errLifetime):
		res.Outcome, res.Reason = "timed-out", cause.Error()
	case cause != nil:
		res.Outcome, res.Reason = "cancelled", cause.Error()
	}
	return res
}

// report sends the result until it is accepted, or refused for good: the lease is
// over then, and the job another's.
func (r *runner) report(ctx context.Context, held *lease, res result) error {
	_, lost := held.next()
	ctx, cancel := context.WithDeadline(ctx, lost.Add(10*time.Minute))
	defer cancel()
	err := retry(ctx, r.log, "report result", callTimeout, func(ctx context.Context) error {
		return r.api.call(ctx, http.MethodPost, "api/v1/runner/result", held.current(), res, nil)
	})
	if err != nil {
		return fmt.Errorf("report result %s: %w", res.Outcome, err)
	}
	r.log.Info("result reported", "outcome", res.Outcome)
	return nil
}
