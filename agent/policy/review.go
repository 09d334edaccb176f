package policy

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/slipway-ci/slipway/docker"
)

// checks judge what is known, in this order. The first that refuses counts.
var checks = []func(*Policy, *docker.Request) *Refusal{
	(*Policy).judgeForm, (*Policy).judgePrivileged, (*Policy).judgeImage, (*Policy).judgeRuntime, (*Policy).judgeNetwork,
	(*Policy).judgeMounts, (*Policy).judgeTmpfs, (*Policy).judgeCapabilities, (*Policy).judgeSecurity, (*Policy).judgeGPUs,
	(*Policy).judgeLimits, (*Policy).judgeInjection, (*Policy).judgeLabels, (*Policy).judgeLog,
}

// Review is for docker.Config.Review. An error is a *Refusal.
func (p *Policy) Review(r docker.Request) error {
	if r.Config == nil || r.Host == nil {
		return never("request", "it has no configuration")
	}
	if field, found := unknownField(&r); found {
		return never("field", "%s is set, which this version of the agent does not know", field)
	}
	for _, check := range checks {
		if refusal := check(p, &r); refusal != nil {
			return refusal
		}
	}
	return nil
}

var (
	containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,255}$`)
	hostName      = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,253}$`)
)

// judgeForm holds the request to what the backend makes of every spec.
func (p *Policy) judgeForm(r *docker.Request) *Refusal {
	switch {
	case !containerName.MatchString(r.Name):
		return never("request", "the container's name %s", short(r.Name))
	case r.Config.StopSignal != "" && r.Config.StopSignal != "SIGTERM":
		return never("request", "the stop signal %s", short(r.Config.StopSignal))
	case r.Host.RestartPolicy.Name != "" && r.Host.RestartPolicy.Name != container.RestartPolicyDisabled:
		return never("request", "the restart policy %s: a runner lives for one job", short(string(r.Host.RestartPolicy.Name)))
	}
	for _, line := range r.Host.ExtraHosts {
		name, address, _ := strings.Cut(line, ":")
		_, err := netip.ParseAddr(address)
		if !hostName.MatchString(name) || address != "host-gateway" && err != nil {
			return never("request", "the extra host %s", short(line))
		}
	}
	return nil
}

func (p *Policy) judgePrivileged(r *docker.Request) *Refusal {
	if r.Host.Privileged && !p.rules.Privileged {
		return unless("privileged", "privileged: true", "the runner is to be privileged")
	}
	return nil
}

func (p *Policy) judgeInjection(r *docker.Request) *Refusal {
	if r.InjectRunner && p.rules.ForbidInjection {
		return unless("inject_runner", "inject_runner: true", "the runner program is to be put into the container")
	}
	return nil
}

// labelPrefix begins the labels of runners. Other programs on the host may act on
// labels of theirs, so none but ours are set.
const labelPrefix = "slipway."

func (p *Policy) judgeLabels(r *docker.Request) *Refusal {
	sets := []map[string]string{r.Config.Labels}
	for _, m := range r.Host.Mounts {
		if m.VolumeOptions != nil {
			sets = append(sets, m.VolumeOptions.Labels)
		}
	}
	if r.Network != nil {
		sets = append(sets, r.Network.Labels)
	}
	for _, set := range sets {
		for key := range set {
			if !strings.HasPrefix(key, labelPrefix) {
				return never("labels", "the label %s does not begin with %s", short(key), labelPrefix)
			}
		}
	}
	return nil
}

// logDrivers keep logs on the host, and logOptions bound them. The others send
// them to where the request says.
var (
	logDrivers = map[string]bool{"": true, "local": true, "json-file": true, "journald": true, "none": true}
	logOptions = map[string]bool{"max-size": true, "max-file": true, "compress": true}
)

func (p *Policy) judgeLog(r *docker.Request) *Refusal {
	if kind := r.Host.LogConfig.Type; !logDrivers[kind] {
		return never("request", "the log driver %s", short(kind))
	}
	for option := range r.Host.LogConfig.Config {
		if !logOptions[option] {
			return never("request", "the log option %s", short(option))
		}
	}
	return nil
}
