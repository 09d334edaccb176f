package agentd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/version"
)

// status is what the command tells.
type status struct {
	Data     string `json:"data"`
	Program  string `json:"program"`
	Agent    string `json:"agent,omitempty"`
	Hub      string `json:"hub,omitempty"`
	Host     string `json:"host,omitempty"`
	HostID   string `json:"host_id,omitempty"`
	Enrolled bool   `json:"enrolled"`
	Policy   string `json:"policy"`
	Updates  string `json:"updates"`
	Running  bool   `json:"running"`
	// Now is what the running agent says of itself.
	Now *report `json:"now,omitempty"`
}

func statusCommand() *cobra.Command {
	s := &settings{}
	c := &cobra.Command{
		Use: "status", Short: "Tell what this agent is, of which hub, and how it does", Args: command.Args(0, 0, ""),
		Long: "Tell what this agent is, of which hub, whether it is connected, and what the policy\nof this host is. The exit code is 0 if that could be told, whatever it is.",
	}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := s.read(c); err != nil {
			return err
		}
		now, err := s.config.status()
		if err != nil {
			return err
		}
		if output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), now)
		}
		return now.write(c.OutOrStdout())
	}
	s.common(c)
	s.policy(c)
	return c
}

func (c Config) status() (status, error) {
	folder, err := identity.Find(c.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return status{}, fmt.Errorf("there is no agent in %s: enrol this machine, or name the folder with --data", c.Data)
	}
	if err != nil {
		return status{}, err
	}
	s := status{Data: folder.Path(), Program: version.String()}
	who, err := folder.Identity()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return status{}, err
	}
	_, tokenErr := folder.Token()
	s.Agent, s.Hub, s.Host, s.HostID, s.Enrolled = who.Agent, who.Hub, who.Name, who.Host, who.Enrolled() && tokenErr == nil
	if rules, err := c.withDefaults().guard(); err != nil {
		s.Policy = "can't be used: " + err.Error()
	} else {
		s.Policy = rules.String()
		s.Updates = updates(folder, rules)
	}
	if s.Now, err = reported(folder); err != nil {
		return status{}, err
	}
	s.Running = s.Now != nil
	return s, nil
}

// updates says whether the hub may have this agent update itself.
func updates(folder *identity.Folder, rules guard) string {
	_, err := folder.Key()
	switch {
	case !rules.AllowsUpdate():
		return "forbidden by the policy"
	case errors.Is(err, fs.ErrNotExist):
		return "none: no key for them was pinned"
	case err != nil:
		return "none: " + err.Error()
	}
	return "allowed"
}

func (s status) write(out io.Writer) error {
	lines := [][2]string{
		{"agent", s.Agent}, {"data", s.Data}, {"program", s.Program}, {"hub", s.Hub}, {"host", strings.TrimSpace(s.Host + " " + s.HostID)},
		{"enrolled", yes(s.Enrolled)}, {"policy", s.Policy}, {"updates", s.Updates}, {"running", yes(s.Running)},
	}
	if n := s.Now; n != nil && n.PID != 0 {
		lines = append(lines, [][2]string{
			{"version", n.Version}, {"pid", fmt.Sprint(n.PID)}, {"started", when(n.Started)}, {"connected", n.connection()},
			{"backend", n.Backend}, {"engine", n.engineLine()}, {"runners", counts(n)}, {"update problem", n.UpdateProblem},
		}...)
	}
	for _, line := range lines {
		if line[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "%-16s %s\n", line[0], command.Printable(line[1])); err != nil {
			return err
		}
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func when(t time.Time) string { return t.Local().Format(time.RFC3339) }

func (r report) connection() string {
	switch {
	case r.Removed:
		return "no: the hub has removed this host"
	case r.Refused:
		return "no: " + r.Hub + " refuses this agent's token: it was revoked, or rotated by an agent that has a copy of this folder. Enrol this machine anew (slipway hosts reenrol)"
	case r.Connected:
		return "yes, to " + r.Hub + " since " + when(r.Since)
	}
	return "no, to " + r.Hub + " since " + when(r.Since)
}

func (r report) engineLine() string {
	if r.EngineProblem != "" {
		return "can't be seen: " + r.EngineProblem
	}
	return r.Engine
}

func counts(r *report) string {
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(r.Runners)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Runners[state], state))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
