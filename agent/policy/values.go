package policy

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"gopkg.in/yaml.v3"
)

func (p *parser) version(n *yaml.Node, _ *Rules) {
	if text, ok := p.scalar(n, "the number "+formatVersion, "!!int"); ok && text != formatVersion {
		p.bad(n, "is %s: this agent reads %s", short(text), formatVersion)
	}
}

// readOnlyMark ends a folder that may be mounted read-only alone.
const readOnlyMark = ":ro"

func (p *parser) binds(n *yaml.Node, rules *Rules) {
	texts, at, ok := p.list(n, "a list of folders")
	if !ok {
		return
	}
	for i, text := range texts {
		folder, readOnly := strings.CutSuffix(text, readOnlyMark)
		one := Bind{Path: folder, ReadOnly: readOnly}
		p.try(at[i], Rules{Binds: []Bind{one}})
		rules.Binds = append(rules.Binds, one)
	}
}

// gpus reads all, none, or a list of ids.
func (p *parser) gpus(n *yaml.Node, rules *Rules) {
	switch {
	case n.Kind == yaml.SequenceNode:
		listed(func(r *Rules) *[]string { return &r.GPUs })(p, n, rules)
	case n.Kind == yaml.ScalarNode && n.Value == "all":
	case n.Kind == yaml.ScalarNode && n.Value == "none":
		rules.GPUs = []string{}
	default:
		p.bad(n, "must be all, none or a list of ids")
	}
}

var wholeForm = regexp.MustCompile(`^[0-9]{1,15}$`)

// whole reads a number of digits alone: no signs, and nothing that is octal to
// one reader and decimal to another.
func (p *parser) whole(n *yaml.Node, most int64) (int64, bool) {
	text, ok := p.scalar(n, "a whole number", "!!int")
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if !wholeForm.MatchString(text) || text[0] == '0' || err != nil || number > most {
		p.bad(n, "must be 1 to %d in plain digits, this is %s; for no bound leave the key out", most, short(text))
		return 0, false
	}
	return number, true
}

func (p *parser) maxRunners(n *yaml.Node, rules *Rules) {
	if number, ok := p.whole(n, 1_000_000); ok {
		rules.MaxRunners = int(number)
	}
}

func (p *parser) maxPids(n *yaml.Node, rules *Rules) {
	if number, ok := p.whole(n, 1<<22); ok {
		rules.MaxPids = number
	}
}

var decimalForm = regexp.MustCompile(`^[0-9]{1,7}(\.[0-9]{1,9})?$`)

func (p *parser) maxCPU(n *yaml.Node, rules *Rules) {
	text, ok := p.scalar(n, "a number such as 4 or 0.5", "!!int", "!!float")
	if !ok {
		return
	}
	number, err := strconv.ParseFloat(text, 64)
	if !decimalForm.MatchString(text) || err != nil || nanos(number) == 0 || number > maxCPU {
		p.bad(n, "must be above 0 and up to %d, such as 4 or 0.5, this is %s; for no bound leave the key out", maxCPU, short(text))
		return
	}
	rules.MaxCPU = number
}

var sizeForm = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,9})? ?([bBkKmMgGtTpP]|[kKmMgGtTpP]i?[bB])?$`)

// bytesOf reads a size in powers of 1024, as templates write it.
func bytesOf(field func(*Rules) *int64) func(*parser, *yaml.Node, *Rules) {
	return func(p *parser, n *yaml.Node, rules *Rules) {
		text, ok := p.scalar(n, "a size such as 512m, 4GiB or 1073741824", "!!str", "!!int")
		if !ok {
			return
		}
		bytes, err := units.RAMInBytes(text)
		// A size beyond what a number holds wraps around, or ends at the largest.
		if !sizeForm.MatchString(text) || err != nil || bytes <= 0 || bytes == math.MaxInt64 {
			p.bad(n, "must be a size such as 512m, 4GiB or 1073741824, this is %s; for no bound leave the key out", short(text))
			return
		}
		*field(rules) = bytes
	}
}
