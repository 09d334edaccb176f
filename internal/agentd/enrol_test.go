package agentd

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/release"
	"github.com/slipway-ci/slipway/tokens"
)

func TestEnrol(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	folder, err := identity.Find(data)
	require.NoError(t, err)
	who, err := folder.Identity()
	require.NoError(t, err)
	require.Equal(t, "owner-1", who.Owner)
	require.Equal(t, "host-1", who.Host)
	require.Equal(t, h.url(), who.Hub)
	token, err := folder.Token()
	require.NoError(t, err)

	var sent map[string]string
	require.NoError(t, json.Unmarshal(h.body, &sent))
	require.Equal(t, who.Agent, sent["agent"])
	require.Equal(t, token.Digest().String(), sent["digest"])
	require.NotEmpty(t, sent["version"])
	require.NotContains(t, h.all(), token.Reveal()[12:], "the credential itself never leaves the host")

	again, err := Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once})
	require.NoError(t, err, "a script that is run twice")
	require.Equal(t, who, again)
	require.Equal(t, 1, h.enrolled)
}

func TestALostAnswerLocksNobodyOut(t *testing.T) {
	h := newHub(t)
	lost := 0
	h.set(func() {
		h.enrol = func(w http.ResponseWriter) bool {
			if lost++; lost == 1 { // the hub has taken it, and nobody hears
				socket, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					socket.Close()
				}
				return true
			}
			if lost == 2 {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		}
	})
	h.enrolHere(t)
	require.Equal(t, 3, h.enrolled)
	require.Len(t, h.digests, 1, "the same pair each time: another digest would be refused")

	// And the same when the program itself was killed in between.
	h = newHub(t)
	h.set(func() {
		h.enrol = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusServiceUnavailable); return true }
	})
	data := filepath.Join(t.TempDir(), "data")
	_, err := Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once, Patience: time.Millisecond})
	require.Error(t, err)
	h.set(func() { h.enrol = nil })
	_, err = Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once})
	require.NoError(t, err)
	require.Len(t, h.digests, 1)
}

func TestEnrolmentRefused(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	folder, err := identity.Find(data)
	require.NoError(t, err)
	token, err := folder.Token()
	require.NoError(t, err)

	_, err = Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: tokens.New(tokens.Enrolment)})
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "slipway hosts reenrol", "the error says what to do")
	for _, status := range []int{http.StatusUnauthorized, http.StatusConflict} {
		err := problem(status, []byte(`{"detail":"spent: make a new one with slipway hosts reenrol"}`))
		require.EqualError(t, err, "the hub refuses the enrolment: spent: make a new one with slipway hosts reenrol", "once")
	}
	kept, err := folder.Token()
	require.NoError(t, err)
	require.True(t, kept.Equal(token), "an enrolment that fails costs nothing")

	_, err = Enrol(t.Context(), Enrolment{Data: t.TempDir() + "/data", Hub: h.url(), Token: h.once})
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "another agent")
	_, err = Enrol(t.Context(), Enrolment{Data: t.TempDir() + "/data", Hub: h.url() + "/elsewhere", Token: h.once})
	require.ErrorContains(t, err, "no hub answers")
	_, err = Enrol(t.Context(), Enrolment{Data: t.TempDir() + "/data", Hub: h.url(), Token: tokens.New(tokens.Agent)})
	require.ErrorContains(t, err, "sf_het_")
	for _, url := range []string{"http://hub.example.com", "https://user:password@hub.example.com", "hub.example.com", "https://hub.example.com?token=x"} {
		_, err = Enrol(t.Context(), Enrolment{Data: t.TempDir() + "/data", Hub: url, Token: h.once})
		require.ErrorContains(t, err, "--hub")
		require.NotContains(t, err.Error(), "password")
	}
}

// What is wrong with a connection for good is told at once, with what mends it.
func TestEnrolmentOverTLS(t *testing.T) {
	h := newHub(t)
	secure := httptest.NewUnstartedServer(h.server.Config.Handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who don't trust it
	secure.StartTLS()
	t.Cleanup(secure.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	enrol := func(url, file string, out *bytes.Buffer) error {
		_, err := Enrol(t.Context(), Enrolment{
			Data: t.TempDir() + "/data", Hub: url, Token: h.once, CAFile: file, Logger: hclog.New(&hclog.LoggerOptions{Output: out}),
		})
		return err
	}
	for _, c := range []struct{ url, file, want string }{
		{secure.URL, "", "put that authority's certificate (PEM) into a file and set SLIPWAY_CA_FILE, or --ca-file, to it (x509: "},
		{strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), authority, "is --hub right, and this machine's clock? (x509: "},
		{strings.Replace(secure.URL, "https", "http", 1), "", "the hub speaks TLS: --hub must begin with https://"},
		{strings.Replace(h.url(), "http", "https", 1), "", "the hub speaks plain HTTP: --hub must begin with http://"},
	} {
		var out bytes.Buffer
		err := enrol(c.url, c.file, &out)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n")
		require.Empty(t, out.String(), "it was tried again")
	}
	require.NoError(t, enrol(secure.URL, authority, new(bytes.Buffer)))
}

func TestReenrolment(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	folder, err := identity.Find(data)
	require.NoError(t, err)
	before, err := folder.Identity()
	require.NoError(t, err)
	old, err := folder.Token()
	require.NoError(t, err)
	h.set(func() { h.once, h.agent = tokens.New(tokens.Enrolment), "" })
	after, err := Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once})
	require.NoError(t, err)
	require.Equal(t, before.Agent, after.Agent)
	require.True(t, before.Same(after), "the same host: what runs goes on as it is")
	fresh, err := folder.Token()
	require.NoError(t, err)
	require.False(t, fresh.Equal(old))
}

func TestTheKeyForUpdatesIsPinnedOnce(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	folder, err := identity.Find(data)
	require.NoError(t, err)
	_, err = folder.Key()
	require.ErrorIs(t, err, os.ErrNotExist, "a hub without a key gives a host without updates")

	text := func() []byte {
		_, public, err := release.GenerateKey()
		require.NoError(t, err)
		return []byte(public.Text())
	}
	first, second := text(), text()
	reenrol := func(given []byte) string {
		h.set(func() { h.once, h.agent = tokens.New(tokens.Enrolment), "" })
		_, err := Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once, Key: given})
		require.NoError(t, err)
		key, err := folder.Key()
		if err != nil {
			return ""
		}
		return string(key)
	}
	h.set(func() { h.files["update-key.pub"] = []byte("<html>") })
	require.Empty(t, reenrol(nil), "what is no key is not pinned")
	h.set(func() { h.files["update-key.pub"] = first })
	require.Equal(t, strings.TrimSpace(string(first)), reenrol(nil))
	h.set(func() { h.files["update-key.pub"] = second })
	require.Equal(t, strings.TrimSpace(string(first)), reenrol(nil), "no hub changes it afterwards")
	require.Equal(t, strings.TrimSpace(string(second)), reenrol(second), "who installs may")
	_, err = Enrol(t.Context(), Enrolment{Data: data, Hub: h.url(), Token: h.once, Key: []byte("x")})
	require.Error(t, err)
}

func TestEnrolTellsNoSecret(t *testing.T) {
	h := newHub(t)
	h.set(func() {
		h.enrol = func(w http.ResponseWriter) bool { // a hub, or what pretends to be one, that repeats it
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"detail":"bad token ` + h.once.Reveal() + `"}`))
			return true
		}
	})
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace})
	_, err := Enrol(t.Context(), Enrolment{Data: t.TempDir() + "/data", Hub: h.url(), Token: h.once, Patience: 800 * time.Millisecond, Logger: log})
	require.Error(t, err)
	require.NotContains(t, out.String(), h.once.Reveal()[12:])
	require.Contains(t, out.String(), "bad token sf_…")
	require.ErrorContains(t, err, "status 500: bad token sf_…")
}
