package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// info is what the hub tells of itself at /api/v1/hub.
type info struct {
	Version   string `json:"version"`
	RunnerURL string `json:"runner_url"`
	Free      int64  `json:"disk_free_bytes"`
	Total     int64  `json:"disk_total_bytes"`
	Full      bool   `json:"disk_full"`
}

func (v *visit) get(ctx context.Context, path, token string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(v.config.URL, "/")+path, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Close = true // nothing is left open behind
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := v.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response, body, err
}

// hub asks the hub whether it is ready, and with a token what it knows of itself.
func (v *visit) hub(ctx context.Context) (Result, string) {
	v.asked = time.Now()
	response, body, err := v.get(ctx, "/readyz", "")
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return Fail, fmt.Sprintf("the certificate of the hub at %s is not good for this machine; SLIPWAY_CA_FILE names a file with more authorities (%v)", v.config.URL, untrusted.Err)
	case err != nil && !v.config.Asked:
		return Skip, fmt.Sprintf("none answers at %s; SLIPWAY_URL names another", v.config.URL)
	case err != nil:
		return Fail, fmt.Sprintf("none answers at %s: start slipway-hub, or set SLIPWAY_URL (%v)", v.config.URL, err)
	case response.StatusCode == http.StatusServiceUnavailable:
		return Fail, fmt.Sprintf("the hub at %s is not ready: %s", v.config.URL, body)
	case response.StatusCode != http.StatusOK:
		return Fail, fmt.Sprintf("what answers at %s is no hub: %s", v.config.URL, response.Status)
	}
	v.hubUp = true
	v.date, _ = http.ParseTime(response.Header.Get("Date")) // zero: not told
	if v.config.Token == "" {
		return OK, fmt.Sprintf("ready at %s; with SLIPWAY_TOKEN there would be more to see", v.config.URL)
	}
	if err := v.learn(ctx); err != nil {
		return Fail, fmt.Sprintf("the hub at %s: %v", v.config.URL, err)
	}
	return OK, fmt.Sprintf("ready at %s, version %s", v.config.URL, v.info.Version)
}

func (v *visit) learn(ctx context.Context) error {
	response, body, err := v.get(ctx, "/api/v1/hub", v.config.Token)
	switch {
	case err != nil:
		return err
	case response.StatusCode == http.StatusUnauthorized:
		return errors.New("it refuses the token in SLIPWAY_TOKEN: an admin token is needed")
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("it answers %s", response.Status)
	}
	var told info
	if err := json.Unmarshal(body, &told); err != nil {
		return fmt.Errorf("its answer can't be read: %w", err)
	}
	v.info = &told
	return nil
}

// clock compares with the hub's. Nothing of Slipway subtracts the clocks of two
// machines; certificates and the reading of logs suffer.
func (v *visit) clock(context.Context) (Result, string) {
	if v.date.IsZero() {
		if time.Now().Year() < 2025 {
			return Fail, "it shows " + time.Now().Format(time.DateOnly) + ": set it, or TLS will fail"
		}
		return OK, "it shows " + time.Now().UTC().Format(time.RFC3339) + "; no hub to compare with"
	}
	// The header has whole seconds, and the answer took a while.
	apart := v.date.Sub(v.asked).Abs().Truncate(time.Second)
	switch {
	case apart > time.Minute:
		return Fail, fmt.Sprintf("it and the hub's are %s apart: set them", apart)
	case apart > 5*time.Second:
		return Warn, fmt.Sprintf("it and the hub's are %s apart", apart)
	}
	return OK, "it agrees with the hub's"
}

// The bar of the hub's default settings for new jobs.
const (
	leastFree    = 256 << 20
	leastPercent = 5
)

// disk tells the room of the hub's disk, or of a folder here.
func (v *visit) disk(context.Context) (Result, string) {
	if v.info != nil {
		text := fmt.Sprintf("the hub has %s free of %s", size(v.info.Free), size(v.info.Total))
		if v.info.Full {
			return Fail, text + ": it accepts no jobs until there is more"
		}
		return OK, text
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(v.config.Dir, &stat); err != nil {
		return Warn, fmt.Sprintf("%s can't be looked at: %v", v.config.Dir, err)
	}
	free, total := int64(stat.Bavail)*int64(stat.Bsize), int64(stat.Blocks)*int64(stat.Bsize)
	text := fmt.Sprintf("%s free of %s at %s", size(free), size(total), v.config.Dir)
	if free < max(leastFree, total/100*leastPercent) {
		return Fail, text + ": a hub would accept no jobs there"
	}
	return OK, text
}

func size(n int64) string { return units.BytesSize(float64(n)) }
