package file

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/template"
)

// field is one field of a template in the file. The table below drives the
// parser, the schema and the table of docs/templates.md.
type field struct {
	name string
	// sets names the fields of template.Template that it sets.
	sets []string
	// required: every template has it, from itself or from the defaults.
	required bool
	// value, fallback and doc are for people: what it takes with its unit, what
	// holds without it, what it does.
	value, fallback, doc string
	// example is YAML.
	example string
	// likely are words that people write for it.
	likely []string
	schema schema
	decode func(d *fieldDecoder, f *field, n *node, t *template.Template)
}

// Limits of fields, as the Shipfox API has them.
const (
	maxConcurrency = 100_000
	maxGPUs        = 1000
)

// fields in the order of the documentation. It is filled by init: the decoders
// look into it.
var fields []field

func init() {
	fields = slices.Concat(coreFields(), imageFields(), resourceFields(), isolationFields(), lifeFields())
}

func fieldNamed(name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

// suggestField is didYouMean for fields; it knows other people's names for them.
func suggestField(name string) string { return suggestOf(fields, name) }

func suggestOf(fields []field, name string) string {
	var words []string
	means := map[string]string{}
	for _, f := range fields {
		for _, word := range append([]string{f.name}, f.likely...) {
			words = append(words, word)
			means[word] = f.name
		}
	}
	if best := nearest(name, words); best != "" {
		return "; did you mean " + means[best] + "?"
	}
	return ""
}

func coreFields() []field {
	return []field{{
		name: "labels", sets: []string{"Labels"}, required: true,
		value:   "list of 1 to 20 labels, each 1 to 128 of `a-z 0-9 . _ -` beginning with a letter or a digit",
		doc:     "What jobs ask for. Trimmed, put in lower case, sorted, and each kept once.",
		example: "[ubuntu22, ubuntu22-2vcpu]",
		likely:  []string{"label", "tags", "runson"},
		schema:  listSchema(textSchema()).with("minItems", 1),
		decode:  decodeLabels,
	}, {
		name: "image", sets: []string{"Image"},
		value: "text, not blank", fallback: "the operator's default image",
		doc:     "The image that the runner is made from.",
		example: "ghcr.io/acme/runner:22.04",
		likely:  []string{"img", "container", "dockerimage"},
		schema:  textSchema(),
		decode:  text(func(t *template.Template) *string { return &t.Image }, anyText),
	}, {
		name: "cpu", sets: []string{"CPU"}, required: true,
		value:   "number above 0, in virtual CPUs, may be fractional",
		doc:     "How much CPU a runner gets.",
		example: "2",
		likely:  []string{"cpus", "vcpu", "vcpus", "cores", "ncpu"},
		schema:  aboveZeroSchema(),
		decode:  aboveZero(func(t *template.Template) *float64 { return &t.CPU }),
	}, {
		name: "memory", sets: []string{"Memory"}, required: true,
		value:   "size above 0: a number in bytes, or with one of `b k kb kib m mb mib g gb gib t tb tib`, in powers of 1024",
		doc:     "How much memory a runner gets. Fractions are allowed and rounded down to bytes.",
		example: "4GiB",
		likely:  []string{"mem", "ram", "memorybytes", "memorylimit"},
		schema:  sizeSchema(),
		decode:  size(func(t *template.Template) *int64 { return &t.Memory }),
	}, {
		name: "max_concurrency", sets: []string{"MaxConcurrency"}, required: true,
		value:   "whole number, 1 to 100000",
		doc:     "How many runners of this template may live at once.",
		example: "10",
		likely:  []string{"concurrency", "max", "maxrunners", "slots", "capacity"},
		schema:  wholeSchema(1, maxConcurrency),
		decode:  whole(func(t *template.Template) *int { return &t.MaxConcurrency }, 1, maxConcurrency),
	}, {
		name: "target_concurrency", sets: []string{"TargetConcurrency"},
		value: "whole number, 0 to `max_concurrency`", fallback: "0",
		doc:     "The floor of runners in all, busy ones included.",
		example: "2",
		likely:  []string{"target", "minrunners", "min", "minconcurrency"},
		schema:  wholeSchema(0, maxConcurrency),
		decode:  whole(func(t *template.Template) *int { return &t.TargetConcurrency }, 0, maxConcurrency),
	}, {
		name: "min_idle", sets: []string{"MinIdle"},
		value: "whole number, 0 to `max_concurrency`", fallback: "0",
		doc:     "The floor of runners without a job: so many wait, ready, as long as there is room.",
		example: "1",
		likely:  []string{"idle", "warm", "warmpool", "idlecount"},
		schema:  wholeSchema(0, maxConcurrency),
		decode:  whole(func(t *template.Template) *int { return &t.MinIdle }, 0, maxConcurrency),
	}, {
		name: "cost", sets: []string{"Cost"},
		value: "number above 0", fallback: "`cpu`",
		doc:     "Ranks templates that fit the same job, the lowest first.",
		example: "0.5",
		likely:  []string{"price", "weight", "priority"},
		schema:  aboveZeroSchema(),
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

func imageFields() []field {
	return []field{{
		name: "os", sets: []string{"OS"},
		value: "one of `linux windows darwin freebsd`", fallback: "the host's",
		doc:     "The operating system, in Go's words.",
		example: "linux",
		likely:  []string{"platform", "goos"},
		schema:  enumSchema(systems),
		decode:  oneOf(func(t *template.Template) *string { return &t.OS }, systems),
	}, {
		name: "arch", sets: []string{"Arch"},
		value: "one of `amd64 arm64 arm 386 ppc64le riscv64 s390x loong64`", fallback: "the host's",
		doc:     "The processor's architecture, in Go's words.",
		example: "arm64",
		likely:  []string{"architecture", "goarch", "cpuarch"},
		schema:  schema{"enum": append([]any{386}, anySlice(archs)...)},
		decode:  oneOf(func(t *template.Template) *string { return &t.Arch }, archs),
	}, {
		name: "pull_policy", sets: []string{"PullPolicy", "PullMaxAge"},
		value: "`always`, `if-not-present`, `never`, or a duration such as `24h`", fallback: "`if-not-present`",
		doc:     "When the image is fetched; a duration fetches when the last fetch is longer ago.",
		example: "24h",
		likely:  []string{"pull", "imagepullpolicy"},
		schema:  textSchema().with("examples", []string{"always", "if-not-present", "never", "24h"}),
		decode:  decodePullPolicy,
	}, {
		name: "inject_runner", sets: []string{"InjectRunner"},
		value: "true or false", fallback: "false",
		doc:     "Puts the one-job runner program into the environment and starts it, so that an image without one serves. Not with `entrypoint` or `command`.",
		example: "true",
		likely:  []string{"injectrunner", "inject"},
		schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.InjectRunner }, true),
	}, {
		name: "entrypoint", sets: []string{"Entrypoint"},
		value: "list of words, or one text that is split into words as a shell does", fallback: "the image's",
		doc:     "Replaces the image's entrypoint. Nothing is expanded: for variables or pipes run a shell.",
		example: "[/bin/sh, -c]",
		schema:  wordsSchema(),
		decode:  words(func(t *template.Template) *[]string { return &t.Entrypoint }),
	}, {
		name: "command", sets: []string{"Command"},
		value: "as `entrypoint`", fallback: "the image's",
		doc:     "Replaces the image's command.",
		example: "run --once",
		likely:  []string{"cmd", "args", "run"},
		schema:  wordsSchema(),
		decode:  words(func(t *template.Template) *[]string { return &t.Command }),
	}, {
		name: "env", sets: []string{"Env"},
		value: "map from name to text, number or boolean; at most 500", fallback: "none",
		doc:     "Added to the runner's environment. It is no place for secrets: every job can read it.",
		example: "{CI: true, CACHE_DIR: /cache}",
		likely:  []string{"environment", "envs", "variables"},
		schema:  schema{"type": "object", "additionalProperties": schema{"type": []string{"string", "number", "boolean", "null"}}},
		decode:  decodeEnv,
	}, {
		name: "user", sets: []string{"User"},
		value: "name or id, optionally with `:group`", fallback: "the image's",
		doc:     "The user that the runner's process runs as.",
		example: `"1000:1000"`,
		likely:  []string{"uid", "username", "runas"},
		schema:  scalarSchema("string", "integer"),
		decode:  text(func(t *template.Template) *string { return &t.User }, oneWord),
	}}
}

func resourceFields() []field {
	return []field{{
		name: "gpus", sets: []string{"GPUs"},
		value: "whole number, 0 to 1000, or `all`", fallback: "0",
		doc:     "How many GPUs a runner gets.",
		example: "1",
		likely:  []string{"gpu", "gpucount"},
		schema:  schema{"anyOf": []schema{wholeSchema(0, maxGPUs), {"const": "all"}}},
		decode:  decodeGPUs,
	}, {
		name: "shm_size", sets: []string{"ShmSize"},
		value: "size above 0, as `memory`", fallback: "the engine's, 64 MiB with Docker",
		doc:     "The size of `/dev/shm`.",
		example: "1g",
		likely:  []string{"shm", "sharedmemory"},
		schema:  sizeSchema(),
		decode:  size(func(t *template.Template) *int64 { return &t.ShmSize }),
	}, {
		name: "pids_limit", sets: []string{"PidsLimit"},
		value: "whole number, 1 or more; -1 for none", fallback: "the backend's, 4096 with Docker",
		doc:     "How many processes and threads a runner may have.",
		example: "2048",
		likely:  []string{"pids", "processes", "pidlimit"},
		schema:  schema{"type": "integer", "minimum": -1, "not": schema{"const": 0}},
		decode:  decodePidsLimit,
	}, {
		name: "mounts", sets: []string{"Mounts"},
		value: "list of maps with `volume` (a name) or `bind` (a path of the host), `target` (an absolute path) and `read_only` (true or false)", fallback: "none",
		doc:     "Volumes that are kept when the runner goes, and folders of the host. A bind must be under a folder that the operator allows.",
		example: "[{volume: go-cache, target: /root/.cache}]",
		likely:  []string{"volumes", "volume", "binds", "mount"},
		schema:  mountsSchema(),
		decode:  decodeMounts,
	}, {
		name: "tmpfs", sets: []string{"Tmpfs"},
		value: "map from absolute path to mount options, or list of paths", fallback: "none",
		doc:     "Folders that live in memory.",
		example: "{/tmp: size=64m}",
		likely:  []string{"tmp", "ramdisk"},
		schema: schema{"anyOf": []schema{listSchema(textSchema()),
			{"type": "object", "additionalProperties": schema{"type": []string{"string", "null"}}}}},
		decode: decodeTmpfs,
	}}
}

func isolationFields() []field {
	return []field{{
		name: "runtime", sets: []string{"Runtime"},
		value: "name of an OCI runtime that the engine knows", fallback: "the engine's",
		doc:     "The runtime, for instance one that isolates more.",
		example: "sysbox-runc",
		likely:  []string{"ociruntime"},
		schema:  textSchema(),
		decode:  text(func(t *template.Template) *string { return &t.Runtime }, oneWord),
	}, {
		name: "network", sets: []string{"Network"},
		value: "name of a network that the engine knows", fallback: "the backend's, one of its own with Docker",
		doc:     "The network that the runner is in.",
		example: "builds",
		likely:  []string{"net", "networkmode", "networks"},
		schema:  textSchema(),
		decode:  text(func(t *template.Template) *string { return &t.Network }, oneWord),
	}, {
		name: "cap_drop", sets: []string{"CapDrop"},
		value: "list of Linux capabilities, with or without `CAP_`, or `ALL`", fallback: "none",
		doc:     "Capabilities to take away.",
		example: "[ALL]",
		likely:  []string{"dropcapabilities", "capsdrop", "dropcaps"},
		schema:  listSchema(textSchema()),
		decode:  capabilities(func(t *template.Template) *[]string { return &t.CapDrop }),
	}, {
		name: "cap_add", sets: []string{"CapAdd"},
		value: "as `cap_drop`", fallback: "none",
		doc:     "Capabilities to add.",
		example: "[NET_ADMIN]",
		likely:  []string{"addcapabilities", "capsadd", "capabilities", "caps", "addcaps"},
		schema:  listSchema(textSchema()),
		decode:  capabilities(func(t *template.Template) *[]string { return &t.CapAdd }),
	}, {
		name: "privileged", sets: []string{"Privileged"},
		value: "true or false", fallback: "false",
		doc:     "Every capability and device: the job is root on the host.",
		example: "true",
		schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.Privileged }, true),
	}, {
		name: "read_only", sets: []string{"ReadOnly"},
		value: "true or false", fallback: "false",
		doc:     "Makes the root file system read-only.",
		example: "true",
		likely:  []string{"ro", "readonlyrootfs"},
		schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.ReadOnly }, true),
	}, {
		name: "no_new_privileges", sets: []string{"AllowNewPrivileges"},
		value: "true or false", fallback: "true",
		doc:     "Keeps processes from gaining privileges by set-uid programs such as sudo.",
		example: "false",
		likely:  []string{"allownewprivileges", "newprivileges", "securityopt"},
		schema:  boolSchema(),
		decode:  boolean(func(t *template.Template) *bool { return &t.AllowNewPrivileges }, false),
	}}
}

func lifeFields() []field {
	return []field{{
		name: "registration_deadline", sets: []string{"RegistrationDeadline"},
		value: "duration above 0 with a unit, such as `90s` or `1h30m`", fallback: "the provisioner's",
		doc:     "How long a runner may take from its launch until the control plane knows it.",
		example: "90s",
		likely:  []string{"registrationtimeout", "startuptimeout", "registertimeout"},
		schema:  durationSchema(),
		decode:  duration(func(t *template.Template) *time.Duration { return &t.RegistrationDeadline }),
	}, {
		name: "max_lifetime", sets: []string{"MaxLifetime"},
		value: "duration above 0 with a unit", fallback: "the provisioner's",
		doc:     "How long a runner may live, its job included.",
		example: "2h",
		likely:  []string{"lifetime", "ttl", "timeout", "maxage"},
		schema:  durationSchema(),
		decode:  duration(func(t *template.Template) *time.Duration { return &t.MaxLifetime }),
	}}
}
