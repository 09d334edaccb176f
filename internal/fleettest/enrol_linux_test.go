package fleettest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/hub/fleet"
)

// A host's whole life, as an operator has it.
func TestHostsLife(t *testing.T) {
	s := newSite(t, nil)
	h := s.newHost("builder-01")
	line := s.cli("hosts", "add", h.name, "--max-runners", "3", "--labels", "pool=a")
	require.Contains(t, s.cli("hosts", "list"), "not-enrolled")
	h.enrol(line)
	stranger := *h
	stranger.data = filepath.Join(t.TempDir(), "stranger")
	_, problem, err := stranger.tryEnrol(line)
	require.Error(t, err, "a token is good for one agent")
	require.Contains(t, problem, "hosts reenrol")
	h.startAgent()
	s.ready(h.name)
	s.apply(scaleSet("small", "linux", "max: 3, selector: {pool: a}"))

	tryCordon(t, s, h)
	tryRotate(t, s, h)
	tryReenrol(t, s, h)
	tryDrain(t, s, h)
	tryRevoke(t, s, h)
	tryRemove(t, s, h)
}

func tryCordon(t *testing.T, s *site, h *host) {
	require.Contains(t, s.cli("hosts", "cordon", h.name), "cordoned")
	id := s.submit("linux", "true")
	require.Contains(t, s.cli("scale-sets", "why", "small"), "cordoned")
	require.Empty(t, s.runners())
	before := time.Now()
	s.cli("hosts", "uncordon", h.name)
	job := s.reaches(id, "succeeded")
	require.True(t, job.StartedAt.After(before), "it began on a cordoned host")
}

func tryRotate(t *testing.T, s *site, h *host) {
	id := s.submit("linux", waiting("rotated"))
	before := s.reaches(id, "running")
	old, err := os.ReadFile(filepath.Join(h.data, "token"))
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, s.connects(string(old)), "it is good, but that was no WebSocket")
	s.cli("hosts", "rotate-token", h.name)
	eventually(t, patience, func() string {
		if now, err := os.ReadFile(filepath.Join(h.data, "token")); err != nil || string(now) == string(old) {
			return "the agent keeps its token"
		}
		if s.connects(string(old)) != http.StatusUnauthorized {
			return "the old token is still good"
		}
		return ""
	})
	s.ready(h.name)
	h.release("rotated")
	require.Equal(t, before.Runner, s.reaches(id, "succeeded").Runner)
}

// connects is the hub's answer to what is nearly an agent.
func (s *site) connects(token string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+fleet.Path, nil)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	res, err := s.net.client().Do(req)
	require.NoError(s.t, err)
	require.NoError(s.t, res.Body.Close())
	return res.StatusCode
}

func tryReenrol(t *testing.T, s *site, h *host) {
	id := s.submit("linux", waiting("enrolled"))
	before, host := s.reaches(id, "running"), s.host(h.name)
	at, running := host.LastSeenAt, s.runners()[h.name]
	h.enrol(s.cli("hosts", "reenrol", h.name))
	eventually(t, patience, func() string {
		if now := s.host(h.name); now.LastSeenAt == nil || !now.LastSeenAt.After(*at) || !now.Ready {
			return "the agent does not come back with its new credential"
		}
		return ""
	})
	require.Equal(t, host.ID, s.host(h.name).ID)
	require.Equal(t, running, s.runners()[h.name])
	h.release("enrolled")
	require.Equal(t, before.Runner, s.reaches(id, "succeeded").Runner)
}

func tryDrain(t *testing.T, s *site, h *host) {
	s.apply(scaleSet("waiting", "waiting", "max: 1, min_idle: 1, hosts: ["+h.name+"]"))
	eventually(t, patience, func() string {
		if len(s.runners()[h.name]) == 0 {
			return "no idle runner comes"
		}
		return ""
	})
	quick, endless := s.submit("linux", waiting("drained")), s.submit("linux", "sleep 1000")
	s.reaches(quick, "running")
	s.reaches(endless, "running")
	// Without a deadline those that wait for a job are ended, and no other.
	s.cli("hosts", "drain", h.name)
	eventually(t, patience, func() string {
		if left := s.runners()[h.name]; len(left) != 2 {
			return fmt.Sprintf("idle runners stay on a host that is drained: %v", left)
		}
		return ""
	})
	begun := time.Now()
	s.cli("hosts", "drain", h.name, "--deadline", "4s")
	h.release("drained")
	s.reaches(quick, "succeeded")
	require.Equal(t, "running", s.job(endless).Status, "it has its time")
	s.cli("hosts", "drain", h.name, "--deadline", "2s", "--wait", "--timeout", "40s")
	require.Less(t, time.Since(begun), patience)
	eventually(t, patience, func() string {
		if job := s.job(endless); job.Status != "cancelled" || job.Reason != "drain-deadline" {
			return "the job of a runner that was ended is " + job.Status + ": " + job.Reason
		}
		return ""
	})
	require.Contains(t, s.cli("events", "--kind", "host-drain-deadline"), h.name)
	require.Contains(t, s.cli("hosts", "list"), "online,cordoned")
	s.empty()
	s.cli("scale-sets", "delete", "waiting")
	s.cli("hosts", "uncordon", h.name)
}

func tryRevoke(t *testing.T, s *site, h *host) {
	id := s.submit("linux", waiting("revoked"))
	s.reaches(id, "running")
	s.cli("hosts", "revoke", h.name)
	eventually(t, patience, func() string {
		if s.host(h.name).Online || !strings.Contains(h.agent.output(), "401") && !strings.Contains(h.agent.output(), "refused") {
			return "the agent is not refused"
		}
		return ""
	})
	h.release("revoked")
	s.reaches(id, "succeeded") // its runner is no part of the host's credential
	h.enrol(s.cli("hosts", "reenrol", h.name))
	s.ready(h.name)
	s.empty()
}

func tryRemove(t *testing.T, s *site, h *host) {
	ends, stays := s.submit("linux", "sleep 1000"), s.submit("linux", "sleep 1000")
	s.reaches(ends, "running")
	s.reaches(stays, "running")
	ended, going := s.container(ends), s.container(stays)
	before := s.host(h.name)
	require.Contains(t, s.refused("hosts", "remove", h.name), "online")
	h.agent.kill()
	eventually(t, patience, func() string {
		if s.host(h.name).Online {
			return "the hub does not see that the agent is gone"
		}
		return ""
	})
	require.Contains(t, s.refused("hosts", "remove", h.name), "2 runners")
	require.Equal(t, "running", s.job(stays).Status)

	s.cli("hosts", "remove", h.name, "--force")
	for _, id := range []string{ends, stays} {
		job := s.reaches(id, "runner-lost")
		require.Contains(t, job.Reason, "host-removed")
	}
	require.Empty(t, s.allRunners())
	_, err := s.client().Host(t.Context(), h.name)
	require.ErrorIs(t, err, client.ErrNotFound)

	// One runner has ended when the agent comes back, and one goes on.
	require.NoError(t, h.engine.ContainerKill(t.Context(), ended, "KILL"))
	later := s.submit("linux", "true")
	h.startAgent()
	h.agent.after("the hub has removed this host")
	require.Contains(t, h.agent.output(), "purge --all")
	eventually(t, patience, func() string {
		if left := h.containers(); slices.ContainsFunc(left, func(c string) bool { return strings.Contains(c, ended) }) {
			return fmt.Sprintf("the agent keeps a runner that has ended: %v", left)
		}
		return ""
	})
	require.Contains(t, h.containers(), "/"+going+" running", "what runs goes on")
	require.Nil(t, s.job(later).StartedAt, "nothing is started there")
	h.agent.stop()
	_, problem, err := run(h.net, nil, "", "slipway-agent", "purge", "--all", "--yes", "--with-data", "--data", h.data, "--docker-host", h.daemon.Host)
	require.NoError(t, err, problem)
	require.Empty(t, h.containers())
	require.Empty(t, h.marks())

	h.data = filepath.Join(t.TempDir(), "again")
	h.join("--labels", "pool=a")
	require.NotEqual(t, before.ID, s.host(h.name).ID, "it is another host, under the old name")
	s.reaches(later, "succeeded")
	s.empty()
	h.agent.stop()
	eventually(t, patience, func() string {
		if s.host(h.name).Online {
			return "it stays online"
		}
		return ""
	})
	s.cli("hosts", "remove", h.name)
	delete(s.hosts, h.name)
}
