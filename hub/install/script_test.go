package install

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Traits of a host.

func dnf(w *world) {
	require.NoError(w.t, os.Remove(filepath.Join(w.bin, "apt-get")))
	require.NoError(w.t, os.Remove(filepath.Join(w.bin, "apt-cache")))
	w.play("dnf", "restorecon")
	w.set("available", "moby-engine\ndocker-cli\n")
}

func arm64(w *world)    { w.set("machine", "aarch64") }
func isolated(w *world) { w.guest.Isolated = true }

func withoutEngine(w *world) {
	require.NoError(w.t, os.Remove(filepath.Join(w.bin, "docker")))
	w.drop("engine")
}

func withoutSystemd(w *world) {
	require.NoError(w.t, os.RemoveAll(filepath.Join(w.root, "run/systemd")))
}

// TestHost is one run each on a fresh host: its exit code here, all that it did and
// said in the transcript.
func TestHost(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		traits []trait
	}{
		{"apt amd64 service", nil, 0, nil},
		{"dnf arm64 service", nil, 0, []trait{dnf, arm64}},
		{"container", []string{"--container"}, 0, nil},
		{"plain HTTP", nil, 0, []trait{func(w *world) { w.url = "http://hub.lan:8570" }}},
		{"plain HTTP here", nil, 0, []trait{func(w *world) { w.url = "http://127.0.0.1:8570" }}},
		{"container without systemd", []string{"--container"}, 0, []trait{withoutSystemd}},
		{"container image", []string{"--image", "registry.example/slipway-agent@sha256:" + strings.Repeat("ab", 32)}, 0, nil},
		{"container host root", []string{"--container", "--host-root"}, 0, nil},

		{"engine missing, yes", []string{"--yes"}, 0, []trait{withoutEngine}},
		{"engine missing, yes, dnf", []string{"--yes"}, 0, []trait{withoutEngine, dnf}},
		{"engine missing, accepted", nil, 0, []trait{withoutEngine, func(w *world) { w.answer = "y" }}},
		{"engine missing, refused", nil, 1, []trait{withoutEngine, func(w *world) { w.answer = "n" }}},
		{"engine missing, nobody to ask", nil, 1, []trait{withoutEngine}},
		{"engine missing, own source", []string{"--yes"}, 0, []trait{withoutEngine, func(w *world) { w.set("available", "docker-ce\ndocker.io\n") }}},
		{"engine missing, no source", []string{"--yes"}, 1, []trait{withoutEngine, dnf, func(w *world) { w.set("available", "podman-docker\n") }}},
		{"engine missing, no packages", []string{"--yes"}, 1, []trait{withoutEngine, dnf, func(w *world) { require.NoError(w.t, os.Remove(filepath.Join(w.bin, "dnf"))) }}},
		{"engine stopped", nil, 0, []trait{func(w *world) { w.drop("engine") }}},
		{"engine silent", []string{"--container"}, 1, []trait{withoutSystemd, func(w *world) { w.drop("engine") }}},
		{"engine is podman", nil, 1, []trait{func(w *world) { w.set("docker-version", "podman version 4.3.1") }}},

		{"isolated", nil, 0, []trait{isolated, sysbox}},
		{"isolated, no data", nil, 0, []trait{isolated, dnf}},
		{"isolated, there already", nil, 0, []trait{isolated, func(w *world) { w.play("sysbox-runc") }}},
		{"isolated, containers", nil, 0, []trait{isolated, sysbox, func(w *world) { w.set("ps", "0123456789ab\n") }}},
		{"isolated, containers, networks set", nil, 0, []trait{isolated, sysbox, func(w *world) {
			w.set("ps", "0123456789ab\n")
			w.put(filepath.Join(w.root, "etc/docker/daemon.json"), []byte(`{"bip": "172.20.0.1/16", "default-address-pools": []}`), 0o644)
		}}},
		{"isolated, package fails", nil, 0, []trait{isolated, sysbox, func(w *world) { w.set("refuse-sysbox", "") }}},
		{"isolated, wrong SHA", []string{"--yes"}, 1, []trait{isolated, sysbox, withoutEngine, func(w *world) { w.put(filepath.Join(w.agents, sysboxFile), []byte("another"), 0o644) }}},

		{"dry run", []string{"--dry-run"}, 0, nil},
		{"dry run, everything missing", []string{"--dry-run"}, 0, []trait{withoutEngine, isolated, func(w *world) { w.set("uid", "1000") }}},
		{"dry run, container", []string{"--dry-run", "--container"}, 0, nil},

		{"wrong SHA", []string{"--yes"}, 1, []trait{withoutEngine, otherAgent}},
		{"agent not fetched", nil, 1, []trait{func(w *world) {
			w.meanwhile = func() { require.NoError(w.t, os.Remove(filepath.Join(w.agents, "slipway-agent-linux-amd64"))) }
		}}},
		{"no agent for it", nil, 1, []trait{arm64, func(w *world) { require.NoError(w.t, os.Remove(filepath.Join(w.agents, "slipway-agent-linux-arm64"))) }}},
		{"no key for updates", nil, 0, []trait{func(w *world) { require.NoError(w.t, os.Remove(filepath.Join(w.agents, keyFile))) }}},
		{"unsupported architecture", nil, 1, []trait{func(w *world) { w.set("machine", "riscv64") }}},
		{"unsupported system", nil, 1, []trait{func(w *world) { w.set("system", "Darwin") }}},
		{"not root", nil, 1, []trait{func(w *world) { w.set("uid", "1000") }}},
		{"no systemd", nil, 1, []trait{withoutSystemd}},
		{"no curl", nil, 1, []trait{func(w *world) { require.NoError(w.t, os.Remove(filepath.Join(w.bin, "curl"))) }}},
		{"enrolment refused", nil, 1, []trait{func(w *world) { w.set("refuse-enrolment", "") }}},
		{"enrolment refused, container", []string{"--container"}, 1, []trait{func(w *world) { w.set("refuse-enrolment", "") }}},
		{"agent does not start", nil, 1, []trait{func(w *world) { w.set("refuse-start", "") }}},
		{"help", []string{"--help"}, 0, nil},
		{"no option", []string{"--continer"}, 2, nil},
		{"host root without container", []string{"--host-root"}, 2, nil},
		{"bad image", []string{"--image", "a;b"}, 2, nil},
		{"image without reference", []string{"--image"}, 2, nil},
	} {
		t.Run(strings.NewReplacer(", ", "-", " ", "-").Replace(c.name), func(t *testing.T) {
			t.Parallel()
			w := played(t, c.traits...)
			require.Equal(t, c.code, w.run(c.args...), w)
			w.golden()
		})
	}
}

func (w *world) String() string { return w.transcript.String() }

const sysboxFile = "sysbox-ce_9.9.9.linux_amd64.deb"

func sysbox(w *world) {
	content := []byte("a package")
	w.put(filepath.Join(w.agents, sysboxFile), content, 0o644)
	w.sysbox = SysboxTable{"apt": {"amd64": {URL: "https://packages.example/v9.9.9/" + sysboxFile, SHA256: fmt.Sprintf("%x", sha256.Sum256(content)), Package: "sysbox-ce"}}}
}

func otherAgent(w *world) {
	w.meanwhile = func() {
		w.put(filepath.Join(w.agents, "slipway-agent-linux-amd64"), []byte("#!/usr/bin/env bash\nexit 0\n"), 0o644)
	}
}
