package scalesets

import (
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
)

// The control planes.
const (
	ControlPlaneQueue   = file.ControlPlaneQueue
	ControlPlaneShipfox = file.ControlPlaneShipfox
)

// ScaleSet is one as it is stored. The template's Key is its name, MaxConcurrency
// its max.
type ScaleSet struct {
	template.Template
	// Hosts are ids, sorted; those of removed hosts among them.
	Hosts []string
	// Selector asks for labels of hosts.
	Selector map[string]string
	// PerHostMax bounds its runners on one host; 0: nothing but the host's cap does.
	PerHostMax int
	// Isolated asks for a runtime that isolates.
	Isolated bool
	// Credential is the name of a registry credential, or empty.
	Credential string
	// ControlPlane is where its jobs come from.
	ControlPlane string
	// MinDiskFree is how many bytes must be free on a host's disk; 0: no floor.
	MinDiskFree int64

	// Version changes with every edit and never comes twice: the ETag.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// scaleSetOf is what was read, its hosts still to be set.
func scaleSetOf(s *file.ScaleSet) ScaleSet {
	return ScaleSet{
		Template: s.Template, Selector: s.Selector, PerHostMax: s.PerHostMax, Isolated: s.Isolated,
		Credential: s.Credential, ControlPlane: s.ControlPlane, MinDiskFree: s.MinDiskFree,
	}
}

// documentOf writes a scale set, with hosts in the place of its ids.
func documentOf(s ScaleSet, hosts []string) Document {
	d := Document{
		Labels: s.Labels, Image: s.Image, CPU: s.CPU, Memory: Size(s.Memory), Max: s.MaxConcurrency,
		Hosts: hosts, Selector: s.Selector, PerHostMax: s.PerHostMax, MinDiskFree: Size(s.MinDiskFree),
		Credential: s.Credential, TargetConcurrency: s.TargetConcurrency, MinIdle: s.MinIdle, Cost: s.Cost,
		OS: s.OS, Arch: s.Arch, PullPolicy: s.PullPolicy, InjectRunner: s.InjectRunner,
		Entrypoint: s.Entrypoint, Command: s.Command, Env: s.Env, User: s.User,
		GPUs: GPUs(s.GPUs), ShmSize: Size(s.ShmSize), PidsLimit: s.PidsLimit, Tmpfs: s.Tmpfs,
		Network: s.Network, CapDrop: s.CapDrop, CapAdd: s.CapAdd, Privileged: s.Privileged, ReadOnly: s.ReadOnly,
		RegistrationDeadline: Duration(s.RegistrationDeadline), MaxLifetime: Duration(s.MaxLifetime),
	}
	if s.Isolated {
		d.Runtime = file.RuntimeIsolated
	}
	if s.ControlPlane != ControlPlaneQueue {
		d.ControlPlane = s.ControlPlane
	}
	switch backend.PullPolicy(s.PullPolicy) {
	case backend.PullIfOlder:
		d.PullPolicy = Duration(s.PullMaxAge).String()
	case backend.PullIfNotPresent:
		d.PullPolicy = "" // the default
	}
	if s.AllowNewPrivileges {
		d.NoNewPrivileges = new(bool)
	}
	for _, m := range s.Mounts {
		d.Mounts = append(d.Mounts, Mount(m))
	}
	return d
}

// scaleSet reads a document that was good once.
func (d plain) scaleSet(name string) ScaleSet {
	s := ScaleSet{
		Template: template.Template{
			Key: name, Labels: d.Labels, Image: d.Image, CPU: d.CPU, Memory: int64(d.Memory), MaxConcurrency: d.Max,
			TargetConcurrency: d.TargetConcurrency, MinIdle: d.MinIdle, Cost: d.Cost,
			OS: d.OS, Arch: d.Arch, PullPolicy: d.PullPolicy, InjectRunner: d.InjectRunner,
			Entrypoint: d.Entrypoint, Command: d.Command, Env: d.Env, User: d.User,
			GPUs: int(d.GPUs), ShmSize: int64(d.ShmSize), PidsLimit: d.PidsLimit, Tmpfs: d.Tmpfs,
			Network: d.Network, CapDrop: d.CapDrop, CapAdd: d.CapAdd, Privileged: d.Privileged, ReadOnly: d.ReadOnly,
			AllowNewPrivileges:   d.NoNewPrivileges != nil && !*d.NoNewPrivileges,
			RegistrationDeadline: time.Duration(d.RegistrationDeadline), MaxLifetime: time.Duration(d.MaxLifetime),
		},
		Hosts: d.Hosts, Selector: d.Selector, PerHostMax: d.PerHostMax, MinDiskFree: int64(d.MinDiskFree),
		Isolated: d.Runtime == file.RuntimeIsolated, Credential: d.Credential, ControlPlane: d.ControlPlane,
	}
	if s.ControlPlane == "" {
		s.ControlPlane = ControlPlaneQueue
	}
	if age, err := time.ParseDuration(d.PullPolicy); err == nil {
		s.PullPolicy, s.PullMaxAge = string(backend.PullIfOlder), age
	}
	for _, m := range d.Mounts {
		s.Mounts = append(s.Mounts, template.Mount(m))
	}
	return s
}
