package hosts

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/tokens"
)

// copied is a world of its own, closed by who made it.
func copied(t *testing.T, dir string) *world {
	require.NoError(t, os.CopyFS(dir, os.DirFS(migrated)))
	return openWorld(t, dir)
}

// modelHost is a host as the model has it.
type modelHost struct {
	name          string
	current, next tokens.Digest
	removed       bool
	ever          map[tokens.Digest]bool // good when it was removed
}

// modelInvite is an invitation that lives.
type modelInvite struct {
	host   string
	token  tokens.Token
	agent  string // who used it
	digest tokens.Digest
}

type credentialModel struct {
	*world
	hosts   map[string]*modelHost // by id
	ids     []string
	invites []*modelInvite
	all     map[tokens.Digest]string // every credential ever, and whose it was meant to be
}

func (m *credentialModel) some(rt *rapid.T) (string, *modelHost) {
	if len(m.ids) == 0 {
		rt.Skip("no host")
	}
	id := rapid.SampledFrom(m.ids).Draw(rt, "host")
	return id, m.hosts[id]
}

func (m *credentialModel) fresh(id string) tokens.Digest {
	digest := tokens.New(tokens.Agent).Digest()
	m.all[digest] = id
	return digest
}

func (m *credentialModel) add(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "name")
	h, i, err := m.Add(m.t.Context(), HostSpec{Name: name})
	for _, other := range m.hosts {
		if other.name == name && !other.removed {
			require.ErrorIs(m.t, err, ErrNameTaken)
			return
		}
	}
	require.NoError(m.t, err)
	require.NotContains(m.t, m.hosts, h.ID, "an id is never used again")
	m.hosts[h.ID] = &modelHost{name: name, ever: map[tokens.Digest]bool{}}
	m.ids = append(m.ids, h.ID)
	m.invites = append(m.invites, &modelInvite{host: h.ID, token: i.Token})
}

func (m *credentialModel) reenrol(rt *rapid.T) {
	id, h := m.some(rt)
	_, i, err := m.Reenrol(m.t.Context(), id, ReenrolSpec{})
	if h.removed {
		require.ErrorIs(m.t, err, ErrNotFound)
		return
	}
	require.NoError(m.t, err)
	m.drop(func(other *modelInvite) bool { return other.host == id && other.agent == "" })
	m.invites = append(m.invites, &modelInvite{host: id, token: i.Token})
}

func (m *credentialModel) drop(which func(*modelInvite) bool) {
	var left []*modelInvite
	for _, i := range m.invites {
		if !which(i) {
			left = append(left, i)
		}
	}
	m.invites = left
}

func (m *credentialModel) enrol(rt *rapid.T) {
	if len(m.invites) == 0 {
		rt.Skip("no invitation")
	}
	i := rapid.SampledFrom(m.invites).Draw(rt, "invitation")
	agent := rapid.SampledFrom([]string{agentA, agentB}).Draw(rt, "agent")
	digest := i.digest
	if i.agent == "" || rapid.Bool().Draw(rt, "another") {
		digest = m.fresh(i.host)
	}
	h := m.hosts[i.host]
	_, err := m.Enrol(m.t.Context(), i.token, agent, digest)
	switch {
	case i.agent == "":
		require.NoError(m.t, err)
		i.agent, i.digest, h.current, h.next = agent, digest, digest, tokens.Digest{}
	case i.agent != agent || i.digest != digest:
		require.ErrorIs(m.t, err, ErrOtherAgent)
	case h.current == digest:
		require.NoError(m.t, err)
	default:
		require.ErrorIs(m.t, err, ErrSpentEnrolment, "what it gave is no more good")
	}
}

func (m *credentialModel) rotate(rt *rapid.T) {
	id, h := m.some(rt)
	next := m.fresh(id)
	err := m.Rotated(m.t.Context(), id, next)
	switch {
	case h.removed:
		require.ErrorIs(m.t, err, ErrNotFound)
	case h.current == tokens.Digest{}:
		require.ErrorIs(m.t, err, ErrNotEnrolled)
	default:
		require.NoError(m.t, err)
		require.NoError(m.t, m.Rotated(m.t.Context(), id, next), "it may be said again")
		h.next = next
	}
}

// use authenticates with the next credential, which ends the one before.
func (m *credentialModel) use(rt *rapid.T) {
	id, h := m.some(rt)
	if h.removed || h.next == (tokens.Digest{}) {
		rt.Skip("no rotation")
	}
	got, err := m.Authenticate(m.t.Context(), h.next)
	require.NoError(m.t, err)
	require.Equal(m.t, id, got)
	h.current, h.next = h.next, tokens.Digest{}
}

func (m *credentialModel) revoke(rt *rapid.T) {
	id, h := m.some(rt)
	err := m.Revoke(m.t.Context(), id)
	if h.removed {
		require.ErrorIs(m.t, err, ErrNotFound)
		return
	}
	require.NoError(m.t, err)
	h.current, h.next = tokens.Digest{}, tokens.Digest{}
	m.drop(func(i *modelInvite) bool { return i.host == id })
}

func (m *credentialModel) remove(rt *rapid.T) {
	id, h := m.some(rt)
	err := m.Remove(m.t.Context(), id, 0, rapid.Bool().Draw(rt, "force"))
	if h.removed {
		require.ErrorIs(m.t, err, ErrNotFound)
		return
	}
	require.NoError(m.t, err)
	h.removed = true
	h.ever[h.current], h.ever[h.next] = true, true
	m.drop(func(i *modelInvite) bool { return i.host == id })
}

func (m *credentialModel) restart(*rapid.T) { m.world = m.reopen() }

// check holds every credential that there ever was against the model. A next one
// is left alone: to look is to use it.
func (m *credentialModel) check() {
	for digest, id := range m.all {
		h := m.hosts[id]
		if !h.removed && digest == h.next {
			continue
		}
		got, err := m.Authenticate(m.t.Context(), digest)
		switch {
		case h.removed && h.ever[digest]:
			require.ErrorIs(m.t, err, fleet.ErrRemoved)
		case !h.removed && digest == h.current:
			require.NoError(m.t, err)
			require.Equal(m.t, id, got)
		default:
			require.True(m.t, errors.Is(err, fleet.ErrRefused), "%v", err)
		}
	}
	for _, i := range m.invites {
		_, err := m.Invited(m.t.Context(), i.token)
		require.Equal(m.t, i.agent == "", err == nil)
	}
	for id, h := range m.hosts {
		_, err := m.Host(m.t.Context(), id)
		require.Equal(m.t, !h.removed, err == nil)
		if h.removed {
			require.NotContains(m.t, m.fleet.set, id, "a removed host is set in the fleet")
		}
	}
}
