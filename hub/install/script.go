package install

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/slipway-ci/slipway/tokens"
)

//go:embed script
var scripts embed.FS

// parts are the script's, in their order. Only the first one is filled in.
var parts = []string{"say.sh", "host.sh", "settings.sh", "fetch.sh", "engine.sh", "service.sh", "container.sh", "uninstall.sh", "main.sh"}

var (
	head    = parse("head.sh.tmpl")
	refusal = parse("refusal.sh.tmpl")
	body    = readParts()
)

func parse(name string) *template.Template {
	return template.Must(template.New(name).Funcs(template.FuncMap{"q": quote}).ParseFS(scripts, "script/"+name))
}

func readParts() []byte {
	var text []byte
	for _, name := range parts {
		part, err := scripts.ReadFile("script/" + name)
		if err != nil {
			panic(err) // it is part of the program
		}
		text = append(text, part...)
	}
	return text
}

// quote makes one word of the shell of any text. What can't stand in one is left out.
func quote(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// filling is what goes into a script; every value goes through quote.
type filling struct {
	Host, Hub, Enrolment, Isolated, Insecure, UpdateKey, Name, Root string
	Agents                                                          []agentLine
	Sysbox                                                          []sysboxLine
}

type agentLine struct{ Arch, SHA256, Version, URL string }

type sysboxLine struct{ Key, URL, SHA256, Package string }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// unsafe is what a name or version can't show in a message of the script.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9._+-]`)

func shown(text string) string {
	text = unsafe.ReplaceAllString(text, "-")
	return text[:min(len(text), 253)]
}

// script is what installs the agent for an enrolment.
func (h *handler) script(guest Invited, enrolment tokens.Token) ([]byte, error) {
	key, err := h.shelf.key()
	if err != nil {
		return nil, err
	}
	f := filling{
		Host: cmp.Or(shown(guest.Host), "this-host"), Hub: h.PublicURL, Enrolment: enrolment.Reveal(), Isolated: yes(guest.Isolated), Insecure: yes(h.insecure()),
		UpdateKey: strings.TrimSuffix(key.Text(), "\n"), Name: h.name, Root: h.root, Sysbox: h.sysbox(),
	}
	for _, arch := range architectures {
		a, err := h.shelf.open("linux", arch)
		if errors.Is(err, errNoAgent) {
			continue
		}
		if err != nil {
			// The hosts of the other architecture are not to wait for this one.
			h.Logger.Error("an agent is not given out", "arch", arch, "err", err)
			continue
		}
		_ = a.file.Close() // it was only read
		f.Agents = append(f.Agents, agentLine{Arch: arch, SHA256: a.sha256, Version: shown(a.version), URL: h.PublicURL + Prefix + "slipway-agent-linux-" + arch})
	}
	var out bytes.Buffer
	if err := head.Execute(&out, f); err != nil {
		return nil, err
	}
	return append(out.Bytes(), body...), nil
}

func (h *handler) sysbox() []sysboxLine {
	var lines []sysboxLine
	for _, manager := range slices.Sorted(maps.Keys(h.Sysbox)) {
		for _, arch := range slices.Sorted(maps.Keys(h.Sysbox[manager])) {
			p := h.Sysbox[manager][arch]
			lines = append(lines, sysboxLine{manager + "-" + arch, p.URL, p.SHA256, p.Package})
		}
	}
	return lines
}

// refuse is a script that says why and exits with 1.
func refuse(why string) []byte {
	var out bytes.Buffer
	if err := refusal.Execute(&out, why); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}
