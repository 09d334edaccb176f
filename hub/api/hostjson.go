package api

import (
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts"
)

// hostView tells many hosts as they are set and as they do, in one look at the fleet.
type hostView map[string]fleet.HostState

func (s *Server) hostView() hostView {
	view := hostView{}
	if s.Fleet != nil {
		for _, st := range s.Fleet.Hosts() {
			view[st.ID] = st
		}
	}
	return view
}

func (v hostView) host(h hosts.Host) Host {
	st, known := v[h.ID]
	return hostOf(h, st, known)
}

// host is one host in a look at that one alone.
func (s *Server) host(h hosts.Host) Host {
	if s.Fleet == nil {
		return hostOf(h, fleet.HostState{}, false)
	}
	st, known := s.Fleet.Host(h.ID)
	return hostOf(h, st, known)
}

// hostOf is a host as it is answered. What its agent tells now goes before what it
// told last.
func hostOf(h hosts.Host, st fleet.HostState, known bool) Host {
	facts := h.Facts
	out := Host{
		ID: h.ID, Name: h.Name, Labels: map[string]string{}, MaxRunners: h.MaxRunners, Cordoned: h.Cordoned, Draining: h.Draining,
		DrainDeadline: orNull(h.DrainDeadline), BackingOff: []string{}, Isolated: h.Isolated, AgentVersion: h.AgentVersion,
		UpdateTo: h.UpdateTo, UpdateProblem: h.UpdateProblem, Enrolled: h.Enrolled, Version: h.Version, CreatedAt: h.CreatedAt,
		LastSeenAt: orNull(h.LastSeenAt), Cap: h.MaxRunners, Runtimes: []string{}, GPUs: []GPU{},
	}
	maps.Copy(out.Labels, h.Labels)
	if out.Cap == 0 {
		out.Cap = facts.CPUs
	}
	if known {
		out.Cap, out.Runners, out.Online, out.Ready, out.Lost = st.Cap, st.Held, st.Online, st.Ready, st.Lost
		out.Since, out.NeedsUpdate, out.Problem = orNull(st.Since), st.NeedsUpdate, st.Problem
		out.BackingOff = append(out.BackingOff, st.BackingOff...)
		if st.Version != "" {
			out.AgentVersion = st.Version
		}
		if st.Online || facts.OS == "" {
			facts = st.Facts
		}
	}
	if !h.Enrolled && !out.Online {
		out.Problem, out.Since = "not-enrolled: no agent has its credential", nil
	}
	out.OS, out.Arch, out.CPUs, out.MemoryBytes = facts.OS, facts.Arch, facts.CPUs, facts.Memory
	out.DiskFree, out.DiskTotal = facts.Disk.Free, facts.Disk.Total
	out.Runtimes = append(out.Runtimes, facts.Runtimes...)
	slices.Sort(out.Runtimes)
	for _, g := range facts.GPUs {
		out.GPUs = append(out.GPUs, GPU{ID: g.ID, Name: g.Name})
	}
	return out
}

func newHostOf(h Host, i hosts.Invitation) NewHost {
	return NewHost{Host: h, Enrolment: NewEnrolment{ID: i.ID, Line: i.Line, ExpiresAt: i.ExpiresAt}}
}
