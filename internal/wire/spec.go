package wire

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/backend"
)

// Spec is backend.Spec as it is sent. Env and Credential hold secrets: it prints
// as String.
type Spec struct {
	ID                 string             `json:"id,omitempty"`
	Labels             map[string]string  `json:"labels,omitempty"`
	Env                map[string]string  `json:"env,omitempty"`
	Image              string             `json:"image,omitempty"`
	PullPolicy         backend.PullPolicy `json:"pull_policy,omitempty"`
	PullMaxAgeMS       int64              `json:"pull_max_age_ms,omitempty"`
	Credential         *Credential        `json:"credential,omitempty"`
	OS                 string             `json:"os,omitempty"`
	Arch               string             `json:"arch,omitempty"`
	InjectRunner       bool               `json:"inject_runner,omitempty"`
	Entrypoint         []string           `json:"entrypoint,omitempty"`
	Command            []string           `json:"command,omitempty"`
	User               string             `json:"user,omitempty"`
	CPU                float64            `json:"cpu,omitempty"`
	Memory             int64              `json:"memory,omitempty"`
	GPUs               int                `json:"gpus,omitempty"`
	GPUIDs             []string           `json:"gpu_ids,omitempty"`
	ShmSize            int64              `json:"shm_size,omitempty"`
	PidsLimit          int64              `json:"pids_limit,omitempty"`
	Runtime            string             `json:"runtime,omitempty"`
	Network            string             `json:"network,omitempty"`
	Mounts             []Mount            `json:"mounts,omitempty"`
	Tmpfs              map[string]string  `json:"tmpfs,omitempty"`
	CapAdd             []string           `json:"cap_add,omitempty"`
	CapDrop            []string           `json:"cap_drop,omitempty"`
	Privileged         bool               `json:"privileged,omitempty"`
	ReadOnly           bool               `json:"read_only,omitempty"`
	AllowNewPrivileges bool               `json:"allow_new_privileges,omitempty"`
}

// Mount is backend.Mount as it is sent.
type Mount struct {
	Volume   string `json:"volume,omitempty"`
	Bind     string `json:"bind,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Credential is backend.Credential as it is sent. It prints without its password.
type Credential struct {
	Registry string `json:"registry,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// FromCredential makes a credential that can be sent; nil stays nil. One that
// can't is backend.ErrInvalid.
func FromCredential(c *backend.Credential) (*Credential, error) {
	if c == nil {
		return nil, nil
	}
	sent := Credential(*c)
	if sent.check() != nil || !utf8.ValidString(sent.Registry+sent.Username+sent.Password) {
		return nil, fmt.Errorf("field Credential has more than %d bytes, or is not UTF-8: %w", MaxCredential, backend.ErrInvalid)
	}
	return &sent, nil
}

func (c *Credential) check() error {
	return within(c == nil || len(c.Registry)+len(c.Username)+len(c.Password) <= MaxCredential)
}

// String tells whose credential it is, without the password.
func (c Credential) String() string { return backend.Credential(c).String() }

// GoString is String.
func (c Credential) GoString() string { return "wire.Credential{" + c.String() + "}" }

// Format makes every verb print String.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// FromSpec makes a spec that can be sent, and that the caller can't change any
// more. One that can't be sent whole (a text that is not UTF-8, too many bytes)
// is backend.ErrInvalid.
func FromSpec(s backend.Spec) (*Spec, error) {
	sent := &Spec{
		ID: s.ID, Labels: maps.Clone(s.Labels), Env: maps.Clone(s.Env),
		Image: s.Image, PullPolicy: s.PullPolicy, PullMaxAgeMS: s.PullMaxAge.Milliseconds(), OS: s.OS, Arch: s.Arch,
		InjectRunner: s.InjectRunner, Entrypoint: slices.Clone(s.Entrypoint), Command: slices.Clone(s.Command), User: s.User,
		CPU: s.CPU, Memory: s.Memory, GPUs: s.GPUs, GPUIDs: slices.Clone(s.GPUIDs), ShmSize: s.ShmSize, PidsLimit: s.PidsLimit,
		Runtime: s.Runtime, Network: s.Network, Tmpfs: maps.Clone(s.Tmpfs), CapAdd: slices.Clone(s.CapAdd), CapDrop: slices.Clone(s.CapDrop),
		Privileged: s.Privileged, ReadOnly: s.ReadOnly, AllowNewPrivileges: s.AllowNewPrivileges,
	}
	for _, m := range s.Mounts {
		sent.Mounts = append(sent.Mounts, Mount(m))
	}
	var err error
	if sent.Credential, err = FromCredential(s.Credential); err != nil {
		return nil, err
	}
	return sent, sent.sendable()
}

func (s *Spec) sendable() error {
	if len(s.ID) > MaxID {
		return fmt.Errorf("field ID has %d bytes, %d are allowed: %w", len(s.ID), MaxID, backend.ErrInvalid)
	}
	labels := len(s.ID)
	for k, v := range s.Labels {
		labels += len(k) + len(v)
	}
	if labels > MaxRunner/2 { // a runner's error must fit beside them
		return fmt.Errorf("field Labels has %d bytes, %d are allowed: %w", labels, MaxRunner/2, backend.ErrInvalid)
	}
	for name, field := range map[string]map[string]string{"Labels": s.Labels, "Env": s.Env, "Tmpfs": s.Tmpfs} {
		for k, v := range field {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return fmt.Errorf("field %s is not UTF-8: %w", name, backend.ErrInvalid)
			}
		}
	}
	for name, field := range map[string][]string{"Entrypoint": s.Entrypoint, "Command": s.Command, "CapAdd": s.CapAdd, "CapDrop": s.CapDrop, "GPUIDs": s.GPUIDs, "Image": {s.Image, s.User, s.Network, s.Runtime}} {
		for _, v := range field {
			if !utf8.ValidString(v) {
				return fmt.Errorf("field %s is not UTF-8: %w", name, backend.ErrInvalid)
			}
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("spec can't be sent: %w", backend.ErrInvalid) // a CPU that is no number
	}
	if len(data) > MaxSpec {
		return fmt.Errorf("spec has %d bytes, %d can be sent: %w", len(data), MaxSpec, backend.ErrInvalid)
	}
	return nil
}

// Backend is the spec again.
func (s *Spec) Backend() backend.Spec {
	spec := backend.Spec{
		ID: s.ID, Labels: s.Labels, Env: s.Env,
		Image: s.Image, PullPolicy: s.PullPolicy, PullMaxAge: time.Duration(s.PullMaxAgeMS) * time.Millisecond, OS: s.OS, Arch: s.Arch,
		InjectRunner: s.InjectRunner, Entrypoint: s.Entrypoint, Command: s.Command, User: s.User,
		CPU: s.CPU, Memory: s.Memory, GPUs: s.GPUs, GPUIDs: s.GPUIDs, ShmSize: s.ShmSize, PidsLimit: s.PidsLimit,
		Runtime: s.Runtime, Network: s.Network, Tmpfs: s.Tmpfs, CapAdd: s.CapAdd, CapDrop: s.CapDrop,
		Privileged: s.Privileged, ReadOnly: s.ReadOnly, AllowNewPrivileges: s.AllowNewPrivileges,
	}
	for _, m := range s.Mounts {
		spec.Mounts = append(spec.Mounts, backend.Mount(m))
	}
	if s.Credential != nil {
		spec.Credential = new(backend.Credential(*s.Credential))
	}
	return spec
}

// String tells the spec without its environment and its credential, which are
// secret.
func (s Spec) String() string { return fmt.Sprintf("%s (image %q)", s.ID, s.Image) }

// GoString is String.
func (s Spec) GoString() string { return "wire.Spec{" + s.String() + "}" }

// Format makes every verb print String.
func (s Spec) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }
