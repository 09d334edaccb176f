package agentd

import (
	"cmp"
	"os"
	"slices"
	"strings"
)

// supervisor is who keeps the agent running: it is stopped in another way with each.
type supervisor string

const (
	bySystemd   supervisor = "systemd"
	byContainer supervisor = "container" // it is what the container is for
	byHand      supervisor = ""
)

// agentName is what the hub's installation calls the service, the container and the
// program.
const agentName = "slipway-agent"

// containerMarks are files that engines leave in containers.
var containerMarks = []string{"/.dockerenv", "/run/.containerenv"}

// ourSupervisor is this process's.
func ourSupervisor() supervisor {
	return supervisorOf(os.Getpid(), os.Getppid(), os.Getenv("INVOCATION_ID") != "", slices.ContainsFunc(containerMarks, exists))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// supervisorOf tells it by the process's number and its parent's. Systemd starts
// services itself, and names each start to them, as to all that they start. Who is a
// container's first process, or the child of the small init that engines put before
// it, ends the container; another process in a container does not.
func supervisorOf(pid, parent int, invoked, contained bool) supervisor {
	switch {
	case parent == 1 && invoked:
		return bySystemd
	case pid == 1, parent == 1 && contained:
		return byContainer
	}
	return byHand
}

// stop is how the agent is stopped, as a line for a shell; empty: by who started it.
func (s supervisor) stop() string {
	switch s {
	case bySystemd:
		return "systemctl stop " + agentName
	case byContainer:
		return "docker stop " + agentName
	}
	return ""
}

// farewell is how all that is left of this agent is removed, for people.
func (c Config) farewell(s supervisor) string {
	args := []string{"purge", "--all", "--with-data", "--data", word(c.Data)}
	if c.Backend == "process" {
		args = append(args, "--backend", c.Backend)
	} else if host := cmp.Or(c.DockerHost, os.Getenv("DOCKER_HOST")); host != "" {
		args = append(args, "--docker-host", word(host))
	}
	purge := strings.Join(args, " ")
	switch s {
	case byContainer:
		// Another container with the same volumes: an agent that is gone can't run it.
		return "run on the host: " + s.stop() + " && docker run --rm --volumes-from " + agentName +
			" --userns host --security-opt label=disable \"$(docker inspect --format '{{.Config.Image}}' " + agentName + ")\" " + purge + " --yes && docker rm " + agentName
	case bySystemd:
		return "run: " + s.stop() + " && " + agentName + " " + purge
	}
	return "stop this program and run: " + agentName + " " + purge
}

// word is a text as one word of a shell's line.
func word(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:@=+,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
