package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// grantSamples is how many jobs are timed, after as many as grantWarmup.
const (
	grantSamples = 500
	grantWarmup  = 50
)

// grantFigure times the way of a job from POST /api/v1/jobs until the answer to a
// provisioner's waiting poll is there, over HTTP on loopback, with an fsync of
// the same disk between any two.
func grantFigure(ctx context.Context) (line string, err error) {
	dir, err := os.MkdirTemp(".", ".bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h, err := hub.Open(ctx, hub.Config{DataDir: filepath.Join(dir, "hub"), Listen: "127.0.0.1:0"})
	if err != nil {
		return "", err
	}
	_, provisioner, err := h.Queue().CreateToken(ctx, queue.TokenSpec{Kind: tokens.Provisioner})
	if err != nil {
		return "", errors.Join(err, h.Close())
	}
	own, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- h.Run(own) }()
	defer func() {
		stop()
		err = errors.Join(err, <-done)
	}()
	b := &grantBench{url: h.URL(), admin: h.AdminToken(), provisioner: provisioner}
	sync, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return "", err
	}
	defer func() { _ = sync.Close() }()
	return b.run(ctx, sync)
}

type grantBench struct {
	url                string
	admin, provisioner tokens.Token
}

func (b *grantBench) run(ctx context.Context, file *os.File) (string, error) {
	var grants, syncs []time.Duration
	for i := range grantWarmup + grantSamples {
		granted, err := b.once(ctx)
		if err != nil {
			return "", err
		}
		synced, err := fsync(file)
		if err != nil {
			return "", err
		}
		if i >= grantWarmup {
			grants, syncs = append(grants, granted), append(syncs, synced)
		}
	}
	p99, floor := quantile(grants, 0.99), quantile(syncs, 0.99)
	bar := 5*time.Millisecond + 2*floor
	return fmt.Sprintf("submit to grant over HTTP: p50 %s, p99 %s, fsync p50 %s, p99 %s; bar 5 ms + 2 fsync p99 = %s: %s",
		milliseconds(quantile(grants, 0.5)), milliseconds(p99), milliseconds(quantile(syncs, 0.5)), milliseconds(floor), milliseconds(bar), verdict(p99 <= bar)), nil
}

// once has a poll wait, submits a job, and tells how long it took from there
// until the poll's answer had been read.
func (b *grantBench) once(ctx context.Context) (time.Duration, error) {
	type end struct {
		at  time.Time
		err error
	}
	polled := make(chan end, 1)
	go func() {
		err := b.poll(ctx)
		polled <- end{time.Now(), err}
	}()
	// The poll is to wait already, its first look done: then only the event wakes it.
	pause := time.NewTimer(30 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	began := time.Now()
	var job struct{ ID string }
	err := b.post(ctx, "/api/v1/jobs", b.admin, map[string]any{"labels": []string{"bench"}, "run": "true"}, &job)
	answer := <-polled
	if err := errors.Join(err, answer.err); err != nil {
		return 0, err
	}
	// Its reservation is not to weigh on those after it.
	return answer.at.Sub(began), b.post(ctx, "/api/v1/jobs/"+job.ID+"/cancel", b.admin, nil, nil)
}

func (b *grantBench) poll(ctx context.Context) error {
	var answer struct {
		Reservations []struct{ Count int }
	}
	err := b.post(ctx, "/provisioners/demand/poll", b.provisioner, map[string]any{
		"wait_seconds": 20, "reservation_ttl_seconds": 600, "max_reservations": 1,
		"templates": []any{map[string]any{"template_key": "bench", "labels": []string{"bench"}, "available_slots": 100_000, "starting": 0, "running": 0}},
	}, &answer)
	if err == nil && len(answer.Reservations) != 1 {
		err = errors.New("a poll was answered without a reservation")
	}
	return err
}

func (b *grantBench) post(ctx context.Context, path string, token tokens.Token, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s: %s", path, response.Status, got)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(got, answer)
}

// fsync times a write of a page and its way to the disk.
func fsync(file *os.File) (time.Duration, error) {
	began := time.Now()
	if _, err := file.Write(make([]byte, 4096)); err != nil {
		return 0, err
	}
	err := file.Sync()
	return time.Since(began), err
}
