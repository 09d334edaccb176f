package fleettest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/docker/docker/api/types/container"
	dockervolume "github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/enginetest"
)

// host is a machine as far as a hub can tell: a network namespace with an engine,
// and an agent.
type host struct {
	site   *site
	name   string
	net    *namespace
	daemon *enginetest.Daemon
	engine *client.Client
	image  string
	data   string
	agent  *process
}

// newHost makes a machine that is joined to the hub's switch, with its engine, which
// is given args besides its own. Its agent does not run yet.
func (s *site) newHost(name string, args ...string) *host {
	s.t.Helper()
	n := newNamespace(s.t)
	port := s.port(name)
	n.ip(fmt.Sprintf("link add lan type veth peer name %s netns %s", port, s.net.path()))
	n.ip(fmt.Sprintf("addr add 10.213.0.%d/16 dev lan", 10+len(s.hosts)))
	n.ip("link set lan up")
	s.net.ip("link set " + port + " master lan")
	s.net.ip("link set " + port + " up")
	h := &host{site: s, name: name, net: n, data: filepath.Join(s.t.TempDir(), "agent")}
	h.open(enginetest.NewDaemon(s.t, n.path(), args...))
	s.hosts[name] = h
	return h
}

func (h *host) open(d *enginetest.Daemon) {
	h.daemon, h.image, h.engine = d, d.Import(), d.Client()
}

// port is the name of a host's device at the switch.
func (s *site) port(name string) string { return "to-" + name }

// cut pulls the host's cable, and mend puts it back.
func (h *host) cut()  { h.site.net.ip("link set " + h.site.port(h.name) + " down") }
func (h *host) mend() { h.site.net.ip("link set " + h.site.port(h.name) + " up") }

var installToken = regexp.MustCompile(`/install/(sf_het_[^.]+)\.sh \| sudo bash`)

// add makes the machine a host: slipway hosts add, and the agent's part of what the
// line does.
func (h *host) add(args ...string) {
	h.site.t.Helper()
	h.enrol(h.site.cli(append([]string{"hosts", "add", h.name}, args...)...))
}

// enrol does the agent's part of a line.
func (h *host) enrol(line string) {
	h.site.t.Helper()
	out, problem, err := h.tryEnrol(line)
	require.NoError(h.site.t, err, "%s%s", out, problem)
}

func (h *host) tryEnrol(line string) (out, problem string, err error) {
	t := h.site.t
	t.Helper()
	found := installToken.FindStringSubmatch(line)
	require.Len(t, found, 2, "the line of an enrolment: %s", line)
	require.Contains(t, line, "curl -fsSL "+h.site.url+"/install/")
	out, problem, err = run(h.net, nil, found[1]+"\n", "slipway-agent", "enrol", "--data", h.data, "--hub", h.site.url, "--insecure-http", "--token-file", "-")
	require.NotContains(t, out+problem, found[1], "the token is not repeated")
	return out, problem, err
}

// join makes the machine a host, and waits until it can be given runners.
func (h *host) join(args ...string) {
	h.site.t.Helper()
	h.add(args...)
	h.startAgent()
	h.site.ready(h.name)
}

// startAgent starts the agent, for the first time or again.
func (h *host) startAgent() {
	h.site.t.Helper()
	h.agent = start(h.net, nil, "slipway-agent", "run", "--data", h.data, "--docker-host", h.daemon.Host, "--log-level", "debug")
}

// containers are the names of what runners there are, whoever counts them.
func (h *host) containers() []string {
	t := h.site.t
	t.Helper()
	list, err := h.engine.ContainerList(context.WithoutCancel(t.Context()), container.ListOptions{All: true})
	require.NoError(t, err)
	var names []string
	for _, c := range list {
		names = append(names, strings.Join(c.Names, ",")+" "+c.State)
	}
	return names
}

// volume is the name of the volume that scale sets of this package mount at /marks:
// there jobs leave marks, and wait for those of the test, whatever the network does.
const volume = "marks"

// marks is the volume's folder; empty: no runner was there yet.
func (h *host) marks() string {
	t := h.site.t
	t.Helper()
	list, err := h.engine.VolumeList(context.WithoutCancel(t.Context()), dockervolume.ListOptions{})
	require.NoError(t, err)
	for _, v := range list.Volumes {
		if strings.HasSuffix(v.Name, "-"+volume) {
			return v.Mountpoint
		}
	}
	return ""
}

// release makes the mark that jobs wait for.
func (h *host) release(mark string) {
	t := h.site.t
	t.Helper()
	dir := h.marks()
	require.NotEmpty(t, dir, "no runner was on %s", h.name)
	require.NoError(t, os.WriteFile(filepath.Join(dir, mark), nil, 0o644))
}

// waiting is a script that waits for a mark.
func waiting(mark string) string {
	return "until [ -e /marks/" + mark + " ]; do sleep 0.1; done; echo released by " + mark
}
