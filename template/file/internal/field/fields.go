package field

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// Field is one field of a template or a scale set in its file. A table of them drives
// the parser, the schema and the table of the reference.
type Field struct {
	// Name is the key in the file.
	Name string
	// Sets names the fields of template.Template that it sets.
	Sets []string
	// Required: every template has it, from itself or from the defaults.
	Required bool
	// Value, Fallback and Doc are for people: what it takes with its unit, what
	// holds without it, what it does.
	Value, Fallback, Doc string
	// Example is YAML.
	Example string
	// Likely are words that people write for it.
	Likely []string
	// Schema is what an editor is told.
	Schema Schema
	decode func(d *Decoder, f *Field, n *document.Node, t *template.Template)
}

// Limits of fields, as the Shipfox API has them.
const (
	maxConcurrency = 100_000
	maxGPUs        = 1000
)

// templates is the table of a template's fields, filled by init: the decoders look
// into it.
var templates []Field

func init() {
	templates = slices.Concat(coreFields(), imageFields(), resourceFields(), isolationFields(), lifeFields())
}

// Template are the fields of a template, in the order of the documentation.
// Nobody changes them.
func Template() []Field { return templates }

// Named finds a field of a template, or nil.
func Named(name string) *Field {
	for i := range templates {
		if templates[i].Name == name {
			return &templates[i]
		}
	}
	return nil
}

// Suggest is "; did you mean x?" for a name that no field of the table has; it
// knows other people's names for them.
func Suggest(fields []Field, name string) string {
	var words []string
	means := map[string]string{}
	for _, f := range fields {
		for _, word := range append([]string{f.Name}, f.Likely...) {
			words = append(words, word)
			means[word] = f.Name
		}
	}
	if best := document.Nearest(name, words); best != "" {
		return "; did you mean " + means[best] + "?"
	}
	return ""
}

func coreFields() []Field {
	return []Field{{
		Name: "labels", Sets: []string{"Labels"}, Required: true,
		Value:   "list of 1 to 20 labels, each 1 to 128 of `a-z 0-9 . _ -` beginning with a letter or a digit",
		Doc:     "What jobs ask for. Trimmed, put in lower case, sorted, and each kept once.",
		Example: "[ubuntu22, ubuntu22-2vcpu]",
		Likely:  []string{"label", "tags", "runson"},
		Schema:  listSchema(textSchema()).With("minItems", 1),
		decode:  decodeLabels,
	}, {
		Name: "image", Sets: []string{"Image"},
		Value: "text, not blank", Fallback: "the operator's default image",
		Doc:     "The image that the runner is made from.",
		Example: "ghcr.io/acme/runner:22.04",
		Likely:  []string{"img", "container", "dockerimage"},
		Schema:  textSchema(),
		decode:  text(func(t *template.Template) *string { return &t.Image }, anyText),
	}, {
		Name: "cpu", Sets: []string{"CPU"}, Required: true,
		Value:   "number above 0, in virtual CPUs, may be fractional",
		Doc:     "How much CPU a runner gets.",
		Example: "2",
		Likely:  []string{"cpus", "vcpu", "vcpus", "cores", "ncpu"},
		Schema:  aboveZeroSchema(),
		decode:  aboveZero(func(t *template.Template) *float64 { return &t.CPU }),
	}, {
		Name: "memory", Sets: []string{"Memory"}, Required: true,
		Value:   "size above 0: a number in bytes, or with one of `b k kb kib m mb mib g gb gib t tb tib`, in powers of 1024",
		Doc:     "How much memory a runner gets. Fractions are allowed and rounded down to bytes.",
		Example: "4GiB",
		Likely:  []string{"mem", "ram", "memorybytes", "memorylimit"},
		Schema:  sizeSchema(),
		decode:  size(func(t *template.Template) *int64 { return &t.Memory }),
	}, {
		Name: "max_concurrency", Sets: []string{"MaxConcurrency"}, Required: true,
		Value:   "whole number, 1 to 100000",
		Doc:     "How many runners of this template may live at once.",
		Example: "10",
		Likely:  []string{"concurrency", "max", "maxrunners", "slots", "capacity"},
		Schema:  wholeSchema(1, maxConcurrency),
		decode:  whole(func(t *template.Template) *int { return &t.MaxConcurrency }, 1, maxConcurrency),
	}, {
		Name: "target_concurrency", Sets: []string{"TargetConcurrency"},
		Value: "whole number, 0 to `max_concurrency`", Fallback: "0",
		Doc:     "The floor of runners in all, busy ones included.",
		Example: "2",
		Likely:  []string{"target", "minrunners", "min", "minconcurrency"},
		Schema:  wholeSchema(0, maxConcurrency),
		decode:  whole(func(t *template.Template) *int { return &t.TargetConcurrency }, 0, maxConcurrency),
	}, {
		Name: "min_idle", Sets: []string{"MinIdle"},
		Value: "whole number, 0 to `max_concurrency`", Fallback: "0",
		Doc:     "The floor of runners without a job: so many wait, ready, as long as there is room.",
		Example: "1",
		Likely:  []string{"idle", "warm", "warmpool", "idlecount"},
		Schema:  wholeSchema(0, maxConcurrency),
		decode:  whole(func(t *template.Template) *int { return &t.MinIdle }, 0, maxConcurrency),
	}, {
		Name: "cost", Sets: []string{"Cost"},
		Value: "number above 0", Fallback: "`cpu`",
		Doc:     "Ranks templates that fit the same job, the lowest first.",
		Example: "0.5",
		Likely:  []string{"price", "weight", "priority"},
		Schema:  aboveZeroSchema(),
		decode:  aboveZero(func(t *template.Template) *float64 { return &t.Cost }),
	}}
}

// Platforms in Go's words; others' words for them lead there.
var (
	systems = []string{"linux", "windows", "darwin", "freebsd"}
	archs   = []string{"amd64", "arm64", "arm", "386", "ppc64le", "riscv64", "s390x", "loong64"}
	foreign = map[string]string{"x86_64": "amd64", "x64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "arm64v8": "arm64",
		"armv7": "arm", "armhf": "arm", "i386": "386", "i686": "386", "x86": "386", "macos": "darwin", "mac": "darwin", "win": "windows"}
)

func anySlice(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

func imageFields() []Field {
	return []Field{{
		Name: "os", Sets: []string{"OS"},
		Value: "one of `linux windows darwin freebsd`", Fallback: "the host's",
		Doc:     "The operating system, in Go's words.",
		Example: "linux",
		Likely:  []string{"platform", "goos"},
		Schema:  enumSchema(systems),
		decode:  oneOf(func(t *template.Template) *string { return &t.OS }, systems),
	}, {
		Name: "arch", Sets: []string{"Arch"},
		Value: "one of `amd64 arm64 arm 386 ppc64le riscv64 s390x loong64`", Fallback: "the host's",
		Doc:     "The processor's architecture, in Go's words.",
		Example: "arm64",
		Likely:  []string{"architecture", "goarch", "cpuarch"},
		Schema:  Schema{"enum": append([]any{386}, anySlice(archs)...)},
		decode:  oneOf(func(t *template.Template) *string { return &t.Arch }, archs),
	}, {
		Name: "pull_policy", Sets: []string{"PullPolicy", "PullMaxAge"},
		Value: "`always`, `if-not-present`, `never`, or a duration such as `24h`", Fallback: "`if-not-present`",
		Doc:     "When the image is fetched; a duration fetches when the last fetch is longer ago.",
		Example: "24h",
		Likely:  []string{"pull", "imagepullpolicy"},
		Schema:  textSchema().With("examples", []string{"always", "if-not-present", "never", "24h"}),
		decode:  decodePullPolicy,
	}, {
		Name: "inject_runner", Sets: []string{"InjectRunner"},
		Value: "true or false", Fallback: "false",
		Doc:     "Puts the one-job runner program into the environment and starts it, so that an image without one serves. Not with `entrypoint` or `command`.",
		Example: "true",
		Likely:  []string{"injectrunner", "inject"},
		Schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.InjectRunner }, true),
	}, {
		Name: "entrypoint", Sets: []string{"Entrypoint"},
		Value: "list of words, or one text that is split into words as a shell does", Fallback: "the image's",
		Doc:     "Replaces the image's entrypoint. Nothing is expanded: for variables or pipes run a shell.",
		Example: "[/bin/sh, -c]",
		Schema:  wordsSchema(),
		decode:  words(func(t *template.Template) *[]string { return &t.Entrypoint }),
	}, {
		Name: "command", Sets: []string{"Command"},
		Value: "as `entrypoint`", Fallback: "the image's",
		Doc:     "Replaces the image's command.",
		Example: "run --once",
		Likely:  []string{"cmd", "args", "run"},
		Schema:  wordsSchema(),
		decode:  words(func(t *template.Template) *[]string { return &t.Command }),
	}, {
		Name: "env", Sets: []string{"Env"},
		Value: "map from name to text, number or boolean; at most 500", Fallback: "none",
		Doc:     "Added to the runner's environment. It is no place for secrets: every job can read it.",
		Example: "{CI: true, CACHE_DIR: /cache}",
		Likely:  []string{"environment", "envs", "variables"},
		Schema:  Schema{"type": "object", "additionalProperties": Schema{"type": []string{"string", "number", "boolean", "null"}}},
		decode:  decodeEnv,
	}, {
		Name: "user", Sets: []string{"User"},
		Value: "name or id, optionally with `:group`", Fallback: "the image's",
		Doc:     "The user that the runner's process runs as.",
		Example: `"1000:1000"`,
		Likely:  []string{"uid", "username", "runas"},
		Schema:  scalarSchema("string", "integer"),
		decode:  text(func(t *template.Template) *string { return &t.User }, oneWordOrID),
	}}
}

func resourceFields() []Field {
	return []Field{{
		Name: "gpus", Sets: []string{"GPUs"},
		Value: "whole number, 0 to 1000, or `all`", Fallback: "0",
		Doc:     "How many GPUs a runner gets.",
		Example: "1",
		Likely:  []string{"gpu", "gpucount"},
		Schema:  Schema{"anyOf": []Schema{wholeSchema(0, maxGPUs), {"const": "all"}}},
		decode:  decodeGPUs,
	}, {
		Name: "shm_size", Sets: []string{"ShmSize"},
		Value: "size above 0, as `memory`", Fallback: "the engine's, 64 MiB with Docker",
		Doc:     "The size of `/dev/shm`.",
		Example: "1g",
		Likely:  []string{"shm", "sharedmemory"},
		Schema:  sizeSchema(),
		decode:  size(func(t *template.Template) *int64 { return &t.ShmSize }),
	}, {
		Name: "pids_limit", Sets: []string{"PidsLimit"},
		Value: "whole number, 1 or more; -1 for none", Fallback: "the backend's, 4096 with Docker",
		Doc:     "How many processes and threads a runner may have.",
		Example: "2048",
		Likely:  []string{"pids", "processes", "pidlimit"},
		Schema:  Schema{"type": "integer", "minimum": -1, "not": Schema{"const": 0}},
		decode:  decodePidsLimit,
	}, {
		Name: "mounts", Sets: []string{"Mounts"},
		Value: "list of maps with `volume` (a name) or `bind` (a path of the host), `target` (an absolute path) and `read_only` (true or false)", Fallback: "none",
		Doc:     "Volumes that are kept when the runner goes, and folders of the host. A bind must be under a folder that the operator allows.",
		Example: "[{volume: go-cache, target: /root/.cache}]",
		Likely:  []string{"volumes", "volume", "binds", "mount"},
		Schema:  mountsSchema(),
		decode:  decodeMounts,
	}, {
		Name: "tmpfs", Sets: []string{"Tmpfs"},
		Value: "map from absolute path to mount options, or list of paths", Fallback: "none",
		Doc:     "Folders that live in memory.",
		Example: "{/tmp: size=64m}",
		Likely:  []string{"tmp", "ramdisk"},
		Schema: Schema{"anyOf": []Schema{listSchema(textSchema()),
			{"type": "object", "additionalProperties": Schema{"type": []string{"string", "null"}}}}},
		decode: decodeTmpfs,
	}}
}

func isolationFields() []Field {
	return []Field{{
		Name: "runtime", Sets: []string{"Runtime"},
		Value: "name of an OCI runtime that the engine knows", Fallback: "the engine's",
		Doc:     "The runtime, for instance one that isolates more.",
		Example: "sysbox-runc",
		Likely:  []string{"ociruntime"},
		Schema:  textSchema(),
		decode:  text(func(t *template.Template) *string { return &t.Runtime }, oneWord),
	}, {
		Name: "network", Sets: []string{"Network"},
		Value: "name of a network that the engine knows", Fallback: "the backend's, one of its own with Docker",
		Doc:     "The network that the runner is in.",
		Example: "builds",
		Likely:  []string{"net", "networkmode", "networks"},
		Schema:  textSchema(),
		decode:  text(func(t *template.Template) *string { return &t.Network }, oneWord),
	}, {
		Name: "cap_drop", Sets: []string{"CapDrop"},
		Value: "list of Linux capabilities, with or without `CAP_`, or `ALL`", Fallback: "none",
		Doc:     "Capabilities to take away.",
		Example: "[ALL]",
		Likely:  []string{"dropcapabilities", "capsdrop", "dropcaps"},
		Schema:  listSchema(textSchema()),
		decode:  capabilities(func(t *template.Template) *[]string { return &t.CapDrop }),
	}, {
		Name: "cap_add", Sets: []string{"CapAdd"},
		Value: "as `cap_drop`", Fallback: "none",
		Doc:     "Capabilities to add.",
		Example: "[NET_ADMIN]",
		Likely:  []string{"addcapabilities", "capsadd", "capabilities", "caps", "addcaps"},
		Schema:  listSchema(textSchema()),
		decode:  capabilities(func(t *template.Template) *[]string { return &t.CapAdd }),
	}, {
		Name: "privileged", Sets: []string{"Privileged"},
		Value: "true or false", Fallback: "false",
		Doc:     "Every capability and device: the job is root on the host.",
		Example: "true",
		Schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.Privileged }, true),
	}, {
		Name: "read_only", Sets: []string{"ReadOnly"},
		Value: "true or false", Fallback: "false",
		Doc:     "Makes the root file system read-only.",
		Example: "true",
		Likely:  []string{"ro", "readonlyrootfs"},
		Schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.ReadOnly }, true),
	}, {
		Name: "no_new_privileges", Sets: []string{"AllowNewPrivileges"},
		Value: "true or false", Fallback: "true",
		Doc:     "Keeps processes from gaining privileges by set-uid programs such as sudo.",
		Example: "false",
		Likely:  []string{"allownewprivileges", "newprivileges", "securityopt"},
		Schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.AllowNewPrivileges }, false),
	}}
}

func lifeFields() []Field {
	return []Field{{
		Name: "registration_deadline", Sets: []string{"RegistrationDeadline"},
		Value: "duration above 0 with a unit, such as `90s` or `1h30m`", Fallback: "the provisioner's",
		Doc:     "How long a runner may take from its launch until the control plane knows it.",
		Example: "90s",
		Likely:  []string{"registrationtimeout", "startuptimeout", "registertimeout"},
		Schema:  durationSchema(),
		decode:  duration(func(t *template.Template) *time.Duration { return &t.RegistrationDeadline }),
	}, {
		Name: "max_lifetime", Sets: []string{"MaxLifetime"},
		Value: "duration above 0 with a unit", Fallback: "the provisioner's",
		Doc:     "How long a runner may live, its job included.",
		Example: "2h",
		Likely:  []string{"lifetime", "ttl", "timeout", "maxage"},
		Schema:  durationSchema(),
		decode:  duration(func(t *template.Template) *time.Duration { return &t.MaxLifetime }),
	}}
}
