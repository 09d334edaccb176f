package fleet_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
)

// A registry's credential goes with launches and prepares, asked for each time, and
// is nowhere else.
func TestCredentialsAreInFramesAlone(t *testing.T) {
	const secret = "canary-registry-5d1e"
	bubble(t, func(t *testing.T) {
		store := fleet.NewMemoryStore()
		asked := 0
		var give error
		w := newWorld(t, fleet.Config{Store: store, Credential: func(_ context.Context, template, image string) (*backend.Credential, error) {
			asked++
			if give != nil {
				return nil, give
			}
			if template == "public" {
				return nil, nil
			}
			return &backend.Credential{Registry: "ghcr.io", Username: template, Password: secret + strings.Repeat("x", asked*len(image)/3)}, nil
		}}, memory.Config{}, "a")
		p := w.readyPeer("a")
		private, public := of("private"), of("public")
		private.ID, public.ID = newID(), newID()
		answers := make(chan error, 1)
		asks := func(do func() error) wire.Frame {
			go func() { answers <- do() }()
			f := p.next()
			require.NotContains(t, fmt.Sprintf("%v %+v %#v %s %v %+v %#v", f, f, *f.Spec, f.Spec, f.Spec.Credential, f.Spec.Backend(), f.Spec.Backend().Credential), secret)
			p.sayFrame(wire.Frame{Type: wire.Answer, Epoch: p.epoch, ID: f.ID, Error: &wire.Error{Code: wire.Invalid, Message: "no such image"}})
			err := <-answers
			require.ErrorIs(t, err, backend.ErrInvalid)
			require.NotContains(t, err.Error(), secret)
			return f
		}
		f := asks(func() error { return w.Prepare(t.Context(), private) })
		require.Equal(t, &wire.Credential{Registry: "ghcr.io", Username: "private", Password: secret + "x"}, f.Spec.Credential)
		require.Nil(t, f.Spec.Env)
		f = asks(func() error { return w.Launch(t.Context(), public) })
		require.Nil(t, f.Spec.Credential)
		w.after(10e9)
		f = asks(func() error { return w.Launch(t.Context(), private) })
		require.Equal(t, secret+"xxx", f.Spec.Credential.Password, "the newest each time")
		require.Equal(t, 3, asked)

		give = errors.New("the vault is sealed")
		err := w.Launch(t.Context(), of("sealed", func(s *backend.Spec) { s.ID = newID() }))
		require.ErrorIs(t, err, backend.ErrUnavailable, "nothing left")
		require.ErrorContains(t, err, "the vault is sealed")
		give = nil
		huge := of("huge", func(s *backend.Spec) {
			s.ID, s.Credential = newID(), &backend.Credential{Password: secret + strings.Repeat("x", wire.MaxCredential)}
		})
		err = w.Launch(t.Context(), huge)
		require.ErrorIs(t, err, backend.ErrInvalid)
		require.NotContains(t, err.Error(), secret)
		require.Empty(t, w.host("a").BackingOff[1:], "that is not the host's fault")

		records, err := store.Load(t.Context())
		require.NoError(t, err)
		text, err := json.Marshal(records)
		require.NoError(t, err)
		for _, shown := range []string{string(text), w.log.String(), fmt.Sprintf("%+v %+v %+v", w.list(), w.Hosts(), w.Explain("private"))} {
			require.NotContains(t, shown, secret)
		}
	})
}

// A registry, an engine or an agent may say what it was sent: it is nowhere in what the
// hub tells, whoever wrote it.
func TestACredentialIsCutOutOfWhatComesBack(t *testing.T) {
	const user, password = "robot", "canary-registry-7b2c-" // each template has its own
	pair := func(template string) string {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + password + template))
	}
	says := func(template string) *wire.Error {
		return &wire.Error{Code: wire.Invalid, Message: "401 for " + pair(template) + " with " + password + template}
	}
	bubble(t, func(t *testing.T) {
		store := fleet.NewMemoryStore()
		var told []fleet.SessionEvent
		w := newWorld(t, fleet.Config{Store: store, Sessions: func(e fleet.SessionEvent) { told = append(told, e) },
			Credential: func(_ context.Context, template, _ string) (*backend.Credential, error) {
				return &backend.Credential{Registry: "ghcr.io", Username: user, Password: password + template}, nil
			}}, memory.Config{}, "a")
		p := w.readyPeer("a")
		answers := make(chan error, 1)
		for name, do := range map[string]func() error{
			"small": func() error { return w.Launch(t.Context(), of("small", func(s *backend.Spec) { s.ID = newID() })) },
			"other": func() error { return w.Prepare(t.Context(), of("other", func(s *backend.Spec) { s.ID = "" })) },
		} {
			go func() { answers <- do() }()
			f := p.next()
			require.Equal(t, password+name, f.Spec.Credential.Password)
			p.sayFrame(wire.Frame{Type: wire.Answer, Epoch: p.epoch, ID: f.ID, Error: says(name)})
			err := <-answers
			require.ErrorIs(t, err, backend.ErrInvalid, name)
			require.ErrorContains(t, err, "401 for [redacted] with [redacted]")
		}
		shows := func() {
			t.Helper()
			synctest.Wait()
			records, err := store.Load(t.Context())
			require.NoError(t, err)
			text, err := json.Marshal(records)
			require.NoError(t, err)
			for _, shown := range []string{string(text), w.log.String(), fmt.Sprintf("%+v %+v %+v %+v", w.list(), w.Hosts(), w.Explain("small"), told)} {
				require.NotContains(t, shown, password)
				require.NotContains(t, shown, pair("small"))
			}
		}
		require.Contains(t, w.Explain("small")[0].LastFailure, "401 for [redacted]")
		shows()

		w.after(10 * time.Second)
		id := newID()
		go func() { answers <- w.Launch(t.Context(), of("small", func(s *backend.Spec) { s.ID = id })) }()
		p.sayFrame(wire.Frame{Type: wire.Answer, Epoch: p.epoch, ID: p.next().ID})
		require.NoError(t, <-answers)
		p.sayFrame(wire.Frame{Type: wire.Changes, Epoch: p.epoch, Changes: &wire.Changed{Runners: []wire.Runner{{ID: id, State: backend.Failed, Error: says("small").Message}}}})
		synctest.Wait()
		require.Equal(t, "401 for [redacted] with [redacted]", w.shown(id).Error)
		shows()
		p.sayFrame(wire.Frame{Type: wire.Blind, Epoch: p.epoch, Error: says("small")})
		shows()
		require.Contains(t, w.host("a").Problem, "401 for [redacted]")
		p.sayFrame(wire.Frame{Type: wire.Bye, Error: says("small")})
		w.after(time.Second)
		require.Contains(t, w.log.String(), "the agent ended the session")
		shows()
	})
}
