package hubcmd

import (
	"regexp"
	"strings"
)

// flagOf is how people set a field of hub.Config.
var flagOf = map[string]string{
	"DataDir": "--data", "Listen": "--listen", "TLSCert": "--tls-cert", "TLSKey": "--tls-key", "InsecureHTTP": "--insecure-http",
	"PublicURL": "--public-url", "RunnerURL": "--runner-url", "RunnerListen": "--runner-listen", "SysboxFile": "--sysbox-file",
	"AgentsDir": "--agents-dir", "JobTimeout": "--job-timeout", "KeepJobs": "--keep-jobs", "KeepEvents": "--keep-events",
	"Heartbeat": "--heartbeat", "LostAfter": "--lost-after", "RunnerMaxLifetime": "--runner-max-lifetime", "DrainTimeout": "--drain-timeout",
	"ShutdownTimeout": "--shutdown-timeout", "LaunchParallelism": "--launch-parallelism", "LeaseTTL": "--lease-ttl",
	"MinFreePercent": "--min-free-percent", "AllowedBinds": "--allowed-binds", "DefaultImage": "--default-image",
	"Shipfox.URL": "--shipfox-url", "Shipfox.RunnerURL": "--shipfox-runner-url", "Shipfox.Token": "SLIPWAY_SHIPFOX_TOKEN",
	"LocalAgentToken": "SLIPWAY_LOCAL_AGENT_TOKEN",
}

var (
	configPrefix = regexp.MustCompile(`^(hub: config: )?([a-z]+: config: )*(field )?`)
	// A field stands alone, and not in what somebody gave as its value.
	configField = regexp.MustCompile(`(^|[ (])((?:Shipfox\.)?[A-Z][A-Za-z]+)\b`)
)

// inFlags says what is wrong with the configuration in the words of who gave it:
// flags and variables, not fields.
func inFlags(err error) string {
	text := configPrefix.ReplaceAllString(err.Error(), "")
	return configField.ReplaceAllStringFunc(text, func(match string) string {
		name := strings.TrimLeft(match, " (")
		if flag, ok := flagOf[name]; ok {
			return strings.TrimSuffix(match, name) + flag
		}
		return match
	})
}
