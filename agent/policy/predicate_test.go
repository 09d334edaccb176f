package policy

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// verdict is a second judge, which knows nothing of the first: it reads the JSON
// that goes to the engine, by the engine's names, and says what is outside of
// the default policy, and of one that allows besides it
//
//   - images of docker.io/library alone (library),
//   - mounts of the folder binds, if it is not empty, but for what has to do with never.
type verdict struct {
	library bool
	binds   string
	never   []string
}

// shape are the members that a create request may have with a value; all else
// must be absent, null, false, 0, "" or empty.
var shape = strings.Fields(`
	User Env Cmd Image Entrypoint Labels StopSignal
	HostConfig.LogConfig.Type HostConfig.LogConfig.Config HostConfig.NetworkMode HostConfig.RestartPolicy.Name
	HostConfig.CapAdd HostConfig.CapDrop HostConfig.ExtraHosts HostConfig.ReadonlyRootfs HostConfig.SecurityOpt
	HostConfig.Tmpfs HostConfig.ShmSize HostConfig.Runtime HostConfig.NanoCpus HostConfig.Memory HostConfig.MemorySwap HostConfig.PidsLimit
	HostConfig.DeviceRequests HostConfig.Mounts`)

var (
	libraryImage  = regexp.MustCompile(`^docker\.io/library/[a-z0-9._-]+(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?$`)
	anyImage      = regexp.MustCompile(`^([A-Za-z0-9.:-]+/[a-z0-9._/-]+(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?|sha256:[0-9a-f]{64})$`)
	ownVolume     = regexp.MustCompile(`^(slipway-cache-[0-9a-f]{12}-[A-Za-z0-9][A-Za-z0-9_.-]*)?$`)
	ownNetwork    = regexp.MustCompile(`^(none|slipway-net-[0-9a-f]{12})$`)
	plainRuntime  = regexp.MustCompile(`^[A-Za-z0-9_-]*$`)
	oneDevice     = regexp.MustCompile(`^[A-Za-z0-9:/._-]+$`)
	harmlessCaps  = strings.Fields("CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE")
	harmlessTmpfs = regexp.MustCompile(`^((size|mode|uid|gid|nr_inodes|nr_blocks)=[^,]*|size|mode|uid|gid|nr_inodes|nr_blocks|rw|ro|exec|noexec|nosuid|nodev|noatime|sync)$`)
	neverWithin   = []string{"/var/run/docker.sock", "/run/docker.sock", "/var/lib/docker", "/var/lib/slipway-agent", "/proc", "/etc", "/dev"}
)

// outside tells what of a create request is outside; nothing is empty.
func (v verdict) outside(body map[string]any) []string {
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, path := range set("", body) {
		if !slices.ContainsFunc(shape, func(known string) bool { return path == known || strings.HasPrefix(path, known+".") }) {
			bad("%s is set", path)
		}
	}
	host, _ := body["HostConfig"].(map[string]any)
	image := anyImage
	if v.library {
		image = libraryImage
	}
	for what, check := range map[string]struct {
		value any
		form  *regexp.Regexp
	}{
		"image": {body["Image"], image}, "network": {host["NetworkMode"], ownNetwork}, "runtime": {host["Runtime"], plainRuntime},
	} {
		if text, _ := check.value.(string); !check.form.MatchString(text) {
			bad("%s %q", what, text)
		}
	}
	for _, name := range texts(host["CapAdd"]) {
		if !slices.Contains(harmlessCaps, strings.TrimPrefix(strings.ToUpper(name), "CAP_")) {
			bad("capability %s", name)
		}
	}
	for _, option := range texts(host["SecurityOpt"]) {
		if option != "no-new-privileges" {
			bad("security option %s", option)
		}
	}
	tmpfs, _ := host["Tmpfs"].(map[string]any)
	for target, options := range tmpfs {
		for option := range strings.SplitSeq(fmt.Sprint(options), ",") {
			if option != "" && !harmlessTmpfs.MatchString(option) || filepath.Clean(target) != target || target == "/" {
				bad("tmpfs %q %q", target, option)
			}
		}
	}
	labels, _ := body["Labels"].(map[string]any)
	for key := range labels {
		if !strings.HasPrefix(key, "slipway.") {
			bad("label %q", key)
		}
	}
	for _, one := range list(host["DeviceRequests"]) {
		for _, id := range texts(one["DeviceIDs"]) {
			if !oneDevice.MatchString(id) || strings.EqualFold(id, "all") {
				bad("device %q", id)
			}
		}
		if fmt.Sprint(one["Capabilities"]) != "[[gpu]]" || fmt.Sprint(one["Driver"]) != "" && one["Driver"] != nil || len(set("", one["Options"])) > 0 {
			bad("device request %v", one)
		}
	}
	for _, m := range list(host["Mounts"]) {
		out = append(out, v.mount(m)...)
	}
	return out
}

func (v verdict) mount(m map[string]any) (out []string) {
	source, _ := m["Source"].(string)
	target, _ := m["Target"].(string)
	if !filepath.IsAbs(target) || filepath.Clean(target) != target || target == "/" {
		out = append(out, fmt.Sprintf("mount at %q", target))
	}
	for _, path := range set("", m) {
		switch {
		case slices.Contains([]string{"Type", "Source", "Target", "ReadOnly", "VolumeOptions.NoCopy"}, path):
		case strings.HasPrefix(path, "VolumeOptions.Labels.slipway."):
		default:
			out = append(out, fmt.Sprintf("mount with %s", path))
		}
	}
	switch m["Type"] {
	case "volume":
		if !ownVolume.MatchString(source) {
			out = append(out, fmt.Sprintf("volume %q", source))
		}
	case "bind":
		real, err := filepath.EvalSymlinks(source)
		if err != nil {
			real = source
		}
		for _, path := range []string{source, real} {
			below := v.binds != "" && (path == v.binds || strings.HasPrefix(path, v.binds+"/"))
			if !below || filepath.Clean(path) != path || strings.Contains(path, "..") || slices.ContainsFunc(neverWithin, func(p string) bool { return strings.HasPrefix(path, p) }) ||
				slices.ContainsFunc(v.never, func(p string) bool { return strings.HasPrefix(path+"/", p+"/") || strings.HasPrefix(p+"/", path+"/") }) {
				out = append(out, fmt.Sprintf("bind %q, which is %q", source, real))
			}
		}
	default:
		out = append(out, fmt.Sprintf("mount of type %v", m["Type"]))
	}
	return out
}

// network is the same for a request that creates a network.
func (v verdict) network(body map[string]any) (out []string) {
	for _, path := range set("", body) {
		switch {
		case path == "Name" || path == "Driver" || path == "CheckDuplicate" || strings.HasPrefix(path, "Labels.slipway."):
		case path == "Options.com.docker.network.bridge.enable_icc" || path == "Options.com.docker.network.bridge.name":
		default:
			out = append(out, "network with "+path)
		}
	}
	if body["Driver"] != "bridge" || fmt.Sprint(body["Options"].(map[string]any)["com.docker.network.bridge.enable_icc"]) != "false" {
		out = append(out, fmt.Sprintf("network %v", body))
	}
	return out
}

// set lists the paths of all members that have a value.
func set(path string, v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		if !v {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	case []any:
		if len(v) == 0 || strings.HasSuffix(path, "ConsoleSize") && fmt.Sprint(v) == "[0 0]" {
			return nil
		}
	case map[string]any:
		var out []string
		for key, value := range v {
			out = append(out, set(strings.TrimPrefix(path+"."+key, "."), value)...)
		}
		return out
	}
	return []string{path}
}

func list(v any) (out []map[string]any) {
	items, _ := v.([]any)
	for _, item := range items {
		one, _ := item.(map[string]any)
		out = append(out, one)
	}
	return out
}

func texts(v any) (out []string) {
	items, _ := v.([]any)
	for _, item := range items {
		out = append(out, fmt.Sprint(item))
	}
	return out
}
