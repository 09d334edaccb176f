package scalesets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/template/file"
)

// Document is a scale set as it is written in JSON and YAML, in its canonical form;
// what is left out has its default. The rules are those of file.ParseScaleSet, by
// which UnmarshalJSON reads: strictly, telling all that is wrong. The fields are in
// the order of the reference.
type Document struct {
	Labels []string `json:"labels"`
	Image  string   `json:"image,omitempty"`
	CPU    float64  `json:"cpu"`
	Memory Size     `json:"memory"`
	Max    int      `json:"max"`
	// Hosts are names; a host that was removed is listed by its id.
	Hosts        []string          `json:"hosts,omitempty"`
	Selector     map[string]string `json:"selector,omitempty"`
	PerHostMax   int               `json:"per_host_max,omitempty"`
	MinDiskFree  Size              `json:"min_disk_free,omitempty"`
	Runtime      string            `json:"runtime,omitempty"`
	Credential   string            `json:"credential,omitempty"`
	ControlPlane string            `json:"control_plane,omitempty"`

	TargetConcurrency int     `json:"target_concurrency,omitempty"`
	MinIdle           int     `json:"min_idle,omitempty"`
	Cost              float64 `json:"cost,omitempty"`

	OS           string            `json:"os,omitempty"`
	Arch         string            `json:"arch,omitempty"`
	PullPolicy   string            `json:"pull_policy,omitempty"` // a policy or a duration
	InjectRunner bool              `json:"inject_runner,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Command      []string          `json:"command,omitempty"`
	Env          map[string]string `json:"env,omitempty"`
	User         string            `json:"user,omitempty"`

	GPUs      GPUs              `json:"gpus,omitempty"`
	ShmSize   Size              `json:"shm_size,omitempty"`
	PidsLimit int64             `json:"pids_limit,omitempty"`
	Mounts    []Mount           `json:"mounts,omitempty"`
	Tmpfs     map[string]string `json:"tmpfs,omitempty"`

	Network    string   `json:"network,omitempty"`
	CapDrop    []string `json:"cap_drop,omitempty"`
	CapAdd     []string `json:"cap_add,omitempty"`
	Privileged bool     `json:"privileged,omitempty"`
	ReadOnly   bool     `json:"read_only,omitempty"`
	// NoNewPrivileges is nil or false; nil is true.
	NoNewPrivileges *bool `json:"no_new_privileges,omitempty"`

	RegistrationDeadline Duration `json:"registration_deadline,omitempty"`
	MaxLifetime          Duration `json:"max_lifetime,omitempty"`
}

// Mount is a volume, or a folder of the host, in a runner.
type Mount struct {
	Volume   string `json:"volume,omitempty"`
	Bind     string `json:"bind,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// plain is a Document with encoding/json's own rules, for what is stored: rules that
// came later must not hide a scale set.
type plain Document

// UnmarshalJSON reads any way of writing a scale set. Its error is ErrInvalid. What
// depends on the hub's configuration and on what else it has is checked when the
// document is used.
func (d *Document) UnmarshalJSON(text []byte) error {
	var value any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return err
	}
	text, err := yamlJSON(value)
	if err != nil {
		return err
	}
	set, err := file.ParseScaleSet("scale set", unnamed, text, file.Options{AllowedBinds: []string{"/"}})
	if err != nil {
		return withoutPlaces(err)
	}
	*d = documentOf(scaleSetOf(set), set.Hosts)
	return nil
}

// unnamed stands for the name of a scale set where only its fields are looked at.
const unnamed = "unnamed"

// parse reads the document once more by the rules of this hub.
func (d Document) parse(name string, opts file.Options) (*file.ScaleSet, error) {
	if problem := file.CheckScaleSetName(name); problem != "" {
		return nil, invalid("name", "is %.70q: %s", name, problem)
	}
	text, err := yamlJSON(d)
	if err != nil {
		return nil, fmt.Errorf("scalesets: %s: write document: %w", name, err)
	}
	set, err := file.ParseScaleSet("scale set "+name, name, text, opts)
	if err != nil {
		return nil, withoutPlaces(err)
	}
	return set, nil
}

// yamlJSON writes JSON that is YAML too: on one line, without pairs of surrogates,
// and with what YAML does not take in its text (1.2, 5.1) escaped.
func yamlJSON(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, c := range string(text) {
		if c >= 0x7f && c <= 0x9f || c == 0xfeff || c == 0xfffe || c == 0xffff {
			fmt.Fprintf(&out, `\u%04x`, c)
			continue
		}
		out.WriteRune(c)
	}
	return out.Bytes(), nil
}

// withoutPlaces is refuse without lines and columns, of a text that nobody wrote.
func withoutPlaces(err error) error {
	err = refuse(err)
	var content *file.Error
	if errors.As(err, &content) {
		for i := range content.Problems {
			content.Problems[i].Line, content.Problems[i].Column = 0, 0
		}
	}
	return err
}
