package apitest

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/tokens"
)

// Credential is one way to come to a route.
type Credential struct {
	// Name of the case.
	Name string
	// Authorization makes the header for one request; empty: none is sent.
	Authorization func() string
	// Kind is that of a token, or KindSession or KindLease; empty: it is nothing of
	// the kind.
	Kind tokens.Kind
	// Good: it is known, and was not used up or revoked, and has not expired.
	Good bool
	// Role of a good admin's or API token.
	Role queue.Role
	// Subject is whose it is, where that matters: a host, a job.
	Subject string
}

// What runners hold besides tokens.
const (
	KindSession tokens.Kind = "session"
	KindLease   tokens.Kind = "lease"
)

// Kinds are all kinds of tokens.
var Kinds = []tokens.Kind{
	tokens.Provisioner, tokens.ManualRegistration, tokens.EphemeralRegistration, tokens.Bootstrap, tokens.ControlSession, tokens.Activation,
	tokens.Admin, tokens.Enrolment, tokens.Agent, tokens.API,
}

// Bearer is a credential whose text is the same for all requests.
func Bearer(name string, kind tokens.Kind, good bool, secret string) Credential {
	return Credential{Name: name, Kind: kind, Good: good, Authorization: func() string { return "Bearer " + secret }}
}

// Each is a credential that is used up, made anew for each request.
func Each(name string, kind tokens.Kind, secret func() string) Credential {
	return Credential{Name: name, Kind: kind, Good: true, Authorization: func() string { return "Bearer " + secret() }}
}

// Credentials are: none, nonsense, an unknown token of each kind, and of all that
// the queue makes a good one, and for those of people a revoked one and an expired
// one. Tokens of hosts (enrolment, agent) are the caller's to add.
func Credentials(t *testing.T, q *queue.Queue) []Credential {
	t.Helper()
	header := func(name, text string) Credential {
		return Credential{Name: name, Authorization: func() string { return text }}
	}
	unknown := tokens.New(tokens.Admin).Reveal()
	list := []Credential{
		header("nothing", ""), header("an empty bearer", "Bearer "), header("only a scheme", "Bearer"), header("garbage", "Bearer x"),
		header("garbage like a token", "Bearer sf_adm_"+base64.RawURLEncoding.EncodeToString(make([]byte, 31))),
		header("a very long one", "Bearer "+fmt.Sprintf("%030000d", 0)),
		header("of another environment", "Bearer "+tokens.NewIn("staging", tokens.Admin).Reveal()),
	}
	for _, kind := range Kinds {
		list = append(list, Bearer("unknown "+string(kind), kind, false, tokens.New(kind).Reveal()))
	}
	m := &maker{t: t, q: q}
	list = append(list, m.people()...)
	list = append(list, m.runners()...)
	admin := m.create(queue.TokenSpec{Kind: tokens.Admin})
	return append(list,
		header("a good token under basic", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+admin))),
		header("a good token without a scheme", admin), header("a good token under another scheme", "Token "+admin),
		header("a good token and more", "Bearer "+admin+"x"), header("two tokens", "Bearer "+admin+" "+unknown),
		header("two tokens with a comma", "Bearer "+admin+", Bearer "+unknown))
}

type maker struct {
	t *testing.T
	q *queue.Queue
}

func (m *maker) create(spec queue.TokenSpec) string {
	_, secret, err := m.q.CreateToken(m.ctx(), spec)
	require.NoError(m.t, err)
	return secret.Reveal()
}

func (m *maker) ctx() context.Context { return context.WithoutCancel(m.t.Context()) }

// people are the tokens that are made by hand.
func (m *maker) people() (list []Credential) {
	for _, spec := range []queue.TokenSpec{
		{Kind: tokens.Provisioner}, {Kind: tokens.ManualRegistration}, {Kind: tokens.Admin},
		{Kind: tokens.API, Role: queue.RoleAdmin}, {Kind: tokens.API, Role: queue.RoleOperator}, {Kind: tokens.API, Role: queue.RoleViewer},
	} {
		name := string(spec.Kind)
		if spec.Role != "" {
			name += " " + string(spec.Role)
		}
		good, secret, err := m.q.CreateToken(m.ctx(), spec)
		require.NoError(m.t, err)
		c := Bearer("good "+name, spec.Kind, true, secret.Reveal())
		c.Role = good.Role
		list = append(list, c)

		revoked, secret, err := m.q.CreateToken(m.ctx(), spec)
		require.NoError(m.t, err)
		_, err = m.q.RevokeToken(m.ctx(), revoked.ID)
		require.NoError(m.t, err)
		list = append(list, Bearer("revoked "+name, spec.Kind, false, secret.Reveal()))

		spec.Lifetime = time.Millisecond
		brief, secret, err := m.q.CreateToken(m.ctx(), spec)
		require.NoError(m.t, err)
		require.Eventually(m.t, func() bool { return !brief.Good(time.Now()) }, 30*time.Second, time.Millisecond)
		list = append(list, Bearer("expired "+name, spec.Kind, false, secret.Reveal()))
	}
	return list
}

// runners are what runners come with, those for one use made anew each time, and
// used ones.
func (m *maker) runners() []Credential {
	used := m.bootstrap()
	control := m.exchange(used)
	registered := m.activation()
	session, err := m.q.Register(m.ctx(), registered, []string{label})
	require.NoError(m.t, err)
	claim, found, err := m.q.Claim(m.ctx(), session.Token, true)
	require.NoError(m.t, err)
	require.True(m.t, found)
	lease := Bearer("good lease", KindLease, true, claim.LeaseToken)
	lease.Subject = claim.JobID
	return []Credential{
		Each("good "+string(tokens.EphemeralRegistration), tokens.EphemeralRegistration, m.registration),
		Each("good "+string(tokens.Bootstrap), tokens.Bootstrap, m.bootstrap),
		Bearer("used "+string(tokens.Bootstrap), tokens.Bootstrap, false, used),
		Bearer("good "+string(tokens.ControlSession), tokens.ControlSession, true, control),
		Each("good "+string(tokens.Activation), tokens.Activation, m.activation),
		Bearer("used "+string(tokens.Activation), tokens.Activation, false, registered),
		Bearer("good session", KindSession, true, session.Token),
		lease,
	}
}

// label is what the jobs ask for that are submitted for runners' credentials.
const label = "apitest"

// promise has a job promised to a new provisioner.
func (m *maker) promise(g queue.Generation) (p queue.Provisioner, reservation string) {
	p, err := m.q.AuthenticateProvisioner(m.ctx(), m.create(queue.TokenSpec{Kind: tokens.Provisioner, Generation: g}))
	require.NoError(m.t, err)
	_, err = m.q.Submit(m.ctx(), queue.JobSpec{Labels: []string{label}, Run: "true"})
	require.NoError(m.t, err)
	answer, err := m.q.Poll(m.ctx(), p, queue.PollRequest{Max: 1, Slots: []grant.Slots{{Key: "t", Labels: []string{label}, Free: 1}}})
	require.NoError(m.t, err)
	require.Len(m.t, answer.Reservations, 1)
	return p, answer.Reservations[0].ID
}

func (m *maker) bootstrap() string {
	p, reservation := m.promise(queue.GenerationHead)
	minted, err := m.q.Mint(m.ctx(), p, []queue.InstanceRequest{{Reservation: reservation}})
	require.NoError(m.t, err)
	return minted[0].Token.Reveal()
}

func (m *maker) registration() string {
	p, reservation := m.promise(queue.GenerationERT)
	minted, err := m.q.MintTokens(m.ctx(), p, reservation, []string{reservation})
	require.NoError(m.t, err)
	return minted[0].Token.Reveal()
}

func (m *maker) exchange(bootstrap string) string {
	control, err := m.q.Exchange(m.ctx(), bootstrap)
	require.NoError(m.t, err)
	return control.Token.Reveal()
}

func (m *maker) activation() string {
	activation, err := m.q.Enrol(m.ctx(), m.exchange(m.bootstrap()), queue.Enrolment{Labels: []string{label}, Kind: "test"})
	require.NoError(m.t, err)
	return activation.Reveal()
}
