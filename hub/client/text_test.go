package client_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
)

// Why: a script that is not UTF-8 would run with other bytes than were written.
func TestWhatIsNoTextIsNotSent(t *testing.T) {
	h := newHub(t)
	asked := 0
	count := func(http.ResponseWriter, *http.Request) bool { asked++; return false }
	h.before.Store(&count)
	ctx, bad, labels := t.Context(), "caf\xe9", []string{"a"}
	for where, deed := range map[string]func() error{
		"run": func() error {
			_, err := h.client.Submit(ctx, client.JobSpec{Labels: labels, Run: bad}, "")
			return err
		},
		"command[1]": func() error {
			_, err := h.client.Submit(ctx, client.JobSpec{Labels: labels, Command: []string{"x", bad}}, "")
			return err
		},
		"env.A": func() error {
			_, err := h.client.Submit(ctx, client.JobSpec{Labels: labels, Run: "x", Env: map[string]string{"A": bad}}, "")
			return err
		},
		"name": func() error {
			_, err := h.client.EditHost(ctx, "a", 0, client.HostEdit{Name: &bad})
			return err
		},
		"the document": func() error {
			_, err := h.client.Apply(ctx, []byte("version: 1 # "+bad), client.ApplyOptions{})
			return err
		},
	} {
		err := deed()
		require.ErrorIs(t, err, client.ErrInvalid, where)
		require.Regexp(t, "^"+regexp.QuoteMeta(where)+` is not UTF-8 text, at its byte \d+: only UTF-8 can be sent$`, err.Error())
	}
	require.Zero(t, asked, "nothing is sent")
	job, err := h.client.Submit(ctx, client.JobSpec{Labels: labels, Run: "printf 'é \uFFFD 😀'"}, "")
	require.NoError(t, err)
	require.Equal(t, "printf 'é \uFFFD 😀'", job.Run)
}
