package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/go-units"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// Pull fetches the image, whatever is there. However many ask, one pull of an
// image and platform runs at a time, in the background: ctx ends the wait alone.
// missing is when the image was looked for and was not there: a pull that has ended
// since will do. Zero: none will.
func (i *Images) Pull(ctx context.Context, spec backend.Spec, missing time.Time) error {
	key := pullKey(spec)
	results := i.flight.DoChan(key, func() (any, error) {
		if !missing.IsZero() && i.last(key).ended.After(missing) {
			return nil, nil
		}
		result := make(chan error, 1)
		err := i.config.Background(ctx, func(own context.Context) {
			own, cancel := context.WithTimeout(own, i.config.Timeout)
			defer cancel()
			began := time.Now()
			err := i.pullNow(own, spec)
			if err == nil {
				i.record(key, pulled{began, time.Now()})
			}
			result <- err
		})
		if err != nil {
			return nil, fault.As(backend.ErrUnavailable, err)
		}
		return nil, <-result
	})
	select {
	case r := <-results:
		if r.Err != nil {
			return fmt.Errorf("pull %s: %w", spec.Image, r.Err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *Images) pullNow(ctx context.Context, spec backend.Spec) error {
	named, err := reference.ParseNormalizedNamed(spec.Image)
	if err != nil {
		return fault.As(backend.ErrInvalid, err)
	}
	log := i.config.Logger.With("image", spec.Image)
	auth, authErr := i.credentials(ctx, spec.Credential, reference.Domain(named))
	if authErr != nil {
		// As Docker's own programs: the image may be public.
		log.Warn("no credentials for the registry", "registry", reference.Domain(named), "err", authErr)
	}
	log.Info("pulling image")
	began := time.Now()
	stream, err := i.config.Client.ImagePull(ctx, named.String(), image.PullOptions{RegistryAuth: auth, Platform: platform(spec)})
	if err == nil {
		err = follow(stream, log)
		_ = stream.Close()
	}
	switch {
	case ctx.Err() != nil:
		// The waiters' own contexts have not ended: to them this is an engine or
		// a registry that does not come to an end.
		return fault.As(backend.ErrUnavailable, fmt.Errorf("given up after %v: %w", time.Since(began).Round(time.Second), errors.New(ctx.Err().Error())))
	case err != nil && authErr != nil:
		return hide(spec.Credential, pullFailure(fmt.Errorf("%w (and no credentials: %w)", err, authErr)))
	case err != nil:
		return hide(spec.Credential, pullFailure(err))
	}
	log.Info("pulled image", "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// pullFailure gives a failed pull its class. Nothing was created by it, so it is
// definite in any case.
func pullFailure(err error) error {
	var told *pullError
	if fault.Answered(err) || errors.As(err, &told) {
		return fault.Answer(err)
	}
	return fault.As(backend.ErrUnavailable, err)
}

// pullError is what the engine tells in the middle of a stream that began well.
type pullError struct{ text string }

func (e *pullError) Error() string { return e.text }

// progress is one line of the engine's stream.
type progress struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Error    string `json:"error"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
}

// progressEvery is how often a pull under way is logged.
const progressEvery = 10 * time.Second

// follow reads the stream of a pull to its end, and logs how far it is.
func follow(stream io.Reader, log hclog.Logger) error {
	decoder := json.NewDecoder(stream)
	layers := map[string]progress{}
	next := time.Now().Add(progressEvery)
	for {
		var p progress
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.Error != "" {
			return &pullError{strings.TrimSpace(p.Error)}
		}
		if p.Status == "Downloading" {
			layers[p.ID] = p
		} else if last, ok := layers[p.ID]; ok {
			last.Progress.Current = last.Progress.Total
			layers[p.ID] = last
		}
		if now := time.Now(); now.After(next) {
			next = now.Add(progressEvery)
			logProgress(log, layers)
		}
	}
}

func logProgress(log hclog.Logger, layers map[string]progress) {
	var current, total int64
	for _, layer := range layers {
		current += layer.Progress.Current
		total += layer.Progress.Total
	}
	log.Info("pulling image", "layers", len(layers), "fetched", units.HumanSize(float64(current)), "of", units.HumanSize(float64(total)))
}
