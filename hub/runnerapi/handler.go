package runnerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
)

const (
	// Prefix is that of all routes.
	Prefix = "/api/v1/runner/"

	maxChunk  = 256 << 10
	maxResult = 64 << 10
	maxReason = 500
)

// Config is what the routes serve.
type Config struct {
	// Queue and Logs are where jobs and logs are. Required.
	Queue *queue.Queue
	Logs  *logs.Store // see Queue
	// Guard says when the disk is full; nil: never.
	Guard *storage.Guard
	// Logger; nil discards.
	Logger hclog.Logger
}

type handler struct {
	Config
}

// New returns the handler of everything under Prefix.
func New(cfg Config) (http.Handler, error) {
	if cfg.Queue == nil || cfg.Logs == nil {
		return nil, errors.New("runnerapi: Queue or Logs is nil")
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	h := &handler{cfg}
	mux := http.NewServeMux()
	for pattern, serve := range h.routes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := serve(r)
			if err != nil {
				h.refuse(w, r, err)
				return
			}
			reply(w, http.StatusOK, answer)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.refuse(w, r, errNotFound) })
	return mux, nil
}

func (h *handler) routes() map[string]func(*http.Request) (any, error) {
	return map[string]func(*http.Request) (any, error){
		"GET " + Prefix + "hello":   h.hello,
		"GET " + Prefix + "job":     h.job,
		"POST " + Prefix + "log":    h.log,
		"POST " + Prefix + "result": h.result,
	}
}

// Routes are the patterns of all routes, as http.ServeMux has them.
func Routes() []string { return slices.Sorted(maps.Keys((&handler{}).routes())) }

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the runner is gone: it asks again
}

func lease(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", queue.ErrUnauthorized
	}
	return strings.TrimSpace(token), nil
}

func (h *handler) hello(*http.Request) (any, error) {
	return map[string]any{"product": "slipway", "protocol": 1}, nil
}

type jobAnswer struct {
	ID       string            `json:"job_id"`
	Attempt  int               `json:"attempt"`
	Name     string            `json:"name"`
	Run      string            `json:"run,omitempty"`
	Command  []string          `json:"command,omitempty"`
	Env      map[string]string `json:"env"`
	Timeout  float64           `json:"timeout_seconds"`
	Renew    float64           `json:"renew_seconds"`
	LeaseTTL float64           `json:"lease_ttl_seconds"`
	LogLimit int64             `json:"log_limit_bytes"`
}

func (h *handler) job(r *http.Request) (any, error) {
	token, err := lease(r)
	if err != nil {
		return nil, err
	}
	var leased queue.LeasedJob
	err = h.do(func() (err error) {
		leased, err = h.Queue.LeasedJob(r.Context(), token)
		return err
	})
	if err != nil {
		return nil, err
	}
	env := leased.Env
	if env == nil {
		env = map[string]string{}
	}
	cfg, job := h.Queue.Config(), leased.Job
	return jobAnswer{
		ID: job.ID, Attempt: leased.Lease.Attempt, Name: job.Name, Run: job.Run, Command: job.Command, Env: env,
		Timeout: job.Timeout.Seconds(), Renew: cfg.RenewInterval.Seconds(), LeaseTTL: cfg.LeaseTTL.Seconds(), LogLimit: cfg.LogLimit,
	}, nil
}

func (h *handler) log(r *http.Request) (any, error) {
	token, err := lease(r)
	if err != nil {
		return nil, err
	}
	offset, err := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	if err != nil || offset < 0 {
		return nil, invalid("[querystring] offset: a whole number of 0 or more is needed")
	}
	held, err := h.Queue.CheckLease(r.Context(), token)
	if err != nil {
		return nil, err
	}
	data, err := readAll(r, maxChunk)
	if err != nil {
		return nil, err
	}
	key := logs.Key{Job: held.JobID, Attempt: held.Attempt}
	length, err := h.append(key, offset, data)
	if length > offset {
		h.Queue.Notify(queue.TopicJob(held.JobID))
	}
	if err != nil {
		return nil, err
	}
	return map[string]int64{"offset": length}, nil
}

// append keeps data, or, where the disk is too full, only how much came. Where
// not even that can be kept the runner goes on all the same, and is told of the
// gap with its next chunk.
func (h *handler) append(key logs.Key, offset int64, data []byte) (int64, error) {
	if h.Guard == nil || !h.Guard.Full() {
		length, err := h.Logs.Append(key, offset, data)
		if err == nil || errors.Is(err, logs.ErrGap) || !storage.IsFull(err) {
			return length, gap(err, length)
		}
	}
	var length int64
	err := h.do(func() (err error) {
		length, err = h.Logs.Drop(key, offset, len(data))
		return err
	})
	if errors.Is(err, logs.ErrGap) {
		return length, gap(err, length)
	}
	if err != nil {
		h.Logger.Warn("log dropped without a mark", "job", key.Job, "err", err)
		length = offset + int64(len(data))
	}
	return length, &refusal{http.StatusInsufficientStorage, "storage-full", "the disk is full: this part of the log is not kept", map[string]any{"offset": length}}
}

func gap(err error, length int64) error {
	if errors.Is(err, logs.ErrGap) {
		return &refusal{http.StatusConflict, "log-gap", "bytes are missing before these", map[string]any{"offset": length}}
	}
	return err
}

type resultBody struct {
	Outcome  queue.Outcome `json:"outcome"`
	ExitCode *int          `json:"exit_code"`
	Reason   string        `json:"reason"`
	LogBytes int64         `json:"log_bytes"`
}

func (h *handler) result(r *http.Request) (any, error) {
	token, err := lease(r)
	if err != nil {
		return nil, err
	}
	text, err := readAll(r, maxResult)
	if err != nil {
		return nil, err
	}
	var body resultBody
	if err := decode(text, &body); err != nil {
		return nil, err
	}
	switch {
	case !body.Outcome.Valid():
		return nil, invalid("[body] outcome: succeeded, failed, cancelled or timed-out is needed")
	case utf8.RuneCountInString(body.Reason) > maxReason:
		return nil, invalid(fmt.Sprintf("[body] reason: at most %d characters are allowed", maxReason))
	case body.LogBytes < 0:
		return nil, invalid("[body] log_bytes: 0 or more is needed")
	}
	result := queue.Result{Outcome: body.Outcome, ExitCode: body.ExitCode, Reason: body.Reason, LogBytes: body.LogBytes}
	// A result is stored whatever room there is.
	if err := h.do(func() error { return h.Queue.Finish(r.Context(), token, result) }); err != nil {
		return nil, err
	}
	return map[string]bool{"accepted": true}, nil
}

// do does what must be stored even when the disk is full.
func (h *handler) do(deed func() error) error {
	if h.Guard == nil {
		return deed()
	}
	return h.Guard.Do(deed)
}

func readAll(r *http.Request, limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "body-too-large", fmt.Sprintf("at most %d bytes are allowed", limit), nil}
	}
	if err != nil {
		return nil, invalid("[body] could not be read")
	}
	return data, nil
}
