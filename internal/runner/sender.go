package runner

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	sendBatch    = 64 << 10               // sent as soon as so much waits,
	sendDelay    = 200 * time.Millisecond // or so long after the first byte
	sendMost     = 256 << 10              // in one request
	defaultStall = time.Minute
)

// sender brings the spool to the hub, by offset.
type sender struct {
	api   *client
	log   hclog.Logger
	spool *spool
	token func() string
	stall time.Duration // without progress for so long the log is cut

	offset int64 // where the spool's first byte goes
	most   int   // bytes in one request
}

// run sends until the spool is closed and empty, or ctx ends, or the hub takes
// nothing for as long as stall after the spool was closed. Whatever happens, the
// spool's writer doesn't wait for ever.
func (s *sender) run(ctx context.Context, end func(error)) {
	defer s.spool.cut(true)
	s.most = sendMost
	progress := time.Now()
	pause := newPause(200*time.Millisecond, 5*time.Second)
	failures := 0
	for s.ready(ctx, &progress) {
		before := s.offset
		err := s.send(ctx)
		switch {
		case isCode(err, "lease-ended"):
			end(errLeaseEnded)
			return
		case err == nil:
			if failures > 0 {
				s.log.Info("send log: done", "failures", failures)
			}
			failures = 0
			pause.Reset()
		}
		if s.offset > before {
			progress = time.Now()
			s.spool.cut(false)
		}
		if err == nil {
			continue
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			s.log.Warn("send log: will be tried again", "err", err)
		}
		if s.stuck(progress) || !sleep(ctx, pause.NextBackOff()) {
			return
		}
	}
}

// stuck lets the job go on when the hub takes no log, and says whether to give
// up: when the job has ended, too.
func (s *sender) stuck(progress time.Time) bool {
	_, full, closed := s.spool.state()
	if time.Since(progress) < s.stall {
		return false
	}
	if full {
		s.spool.cut(true)
	}
	return closed
}

// ready waits until there is enough to send. It is false at the end.
func (s *sender) ready(ctx context.Context, progress *time.Time) bool {
	var late <-chan time.Time
	idle := false
	for {
		waiting, _, closed := s.spool.state()
		if waiting > 0 && idle {
			*progress = time.Now()
		}
		idle = waiting == 0
		switch {
		case ctx.Err() != nil, closed && waiting == 0:
			return false
		case closed, waiting >= sendBatch:
			return true
		case waiting > 0 && late == nil:
			timer := time.NewTimer(sendDelay)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-s.spool.wake:
		case <-late:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// send does one request and takes over the hub's offset. Nil: it got on.
func (s *sender) send(ctx context.Context) error {
	part := s.spool.head(s.most)
	once, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var answer struct {
		Offset int64 `json:"offset"`
	}
	path := "api/v1/runner/log?offset=" + strconv.FormatInt(s.offset, 10)
	err := s.api.call(once, http.MethodPost, path, s.token(), part, &answer)
	if err == nil {
		return s.stored(answer.Offset, len(part))
	}
	var refused *apiError
	if !errors.As(err, &refused) {
		return err
	}
	switch offset := refused.Details.Offset; {
	case isCode(err, "log-gap") && offset != nil && *offset >= 0 && *offset < s.offset:
		// The hub lost what it had accepted, and we have it no more.
		s.log.Warn("log: the hub has a gap", "bytes", s.offset-*offset)
		s.offset = *offset
		return nil
	case isCode(err, "storage-full") && offset != nil:
		return s.stored(*offset, len(part)) // the mark in the log is the hub's
	case refused.Status == http.StatusRequestEntityTooLarge && s.most > 4<<10:
		s.most /= 2
		return nil
	}
	return err
}

// stored moves on to where the hub is, but not past what it was sent.
func (s *sender) stored(offset int64, sent int) error {
	n := min(offset-s.offset, int64(sent))
	if n <= 0 {
		return errors.New("the hub stored nothing")
	}
	s.spool.drop(int(n))
	s.offset += n
	return nil
}

func isCode(err error, code string) bool {
	var answer *apiError
	return errors.As(err, &answer) && answer.Code == code
}
