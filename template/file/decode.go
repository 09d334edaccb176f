package file

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/template"
)

// decodeFunc sets what a node says into a template.
type decodeFunc = func(d *fieldDecoder, f *field, n *node, t *template.Template)

// maxFieldText is how long a text of a field may be, in bytes.
const maxFieldText = 32 << 10

// want tells what a field takes.
func (d *fieldDecoder) want(f *field, n *node, what string) {
	message := "must be " + what + ", this is " + n.describe()
	if n.kind == kindText && !n.computed {
		if _, ok := parseNumber(n.text); ok && strings.Contains(what, "number") {
			message += ": write it without quotes"
		}
	}
	if n.computed && n.kind == kindNumber && what == "text" {
		message += ": use string(…), or put text around the expression"
	}
	d.fail(n.pos, f.name, "%s", message)
}

// plain checks a text of a field: not blank, no control characters, not endless.
// It returns it trimmed.
func (d *fieldDecoder) plain(f *field, n *node) (string, bool) {
	s := strings.TrimSpace(n.scalarText())
	switch {
	case s == "":
		d.fail(n.pos, f.name, "must not be blank")
	case len(s) > maxFieldText:
		d.fail(n.pos, f.name, "is longer than %d KiB", maxFieldText>>10)
	case strings.ContainsFunc(s, isControl):
		d.fail(n.pos, f.name, "must not have control characters, this is %s", quote(s))
	default:
		return s, true
	}
	return "", false
}

// textRule says more of a text.
type textRule int

const (
	anyText textRule = iota
	// oneWord has no white space; a number counts as a word.
	oneWord
)

func text(dst func(*template.Template) *string, rule textRule) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		if n.kind != kindText && (rule != oneWord || n.kind != kindNumber) {
			d.want(f, n, "text")
			return
		}
		s, ok := d.plain(f, n)
		if ok && rule == oneWord && strings.ContainsAny(s, " \t") {
			d.fail(n.pos, f.name, "must not have white space, this is %s", quote(s))
			return
		}
		if ok {
			*dst(t) = s
		}
	}
}

func oneOf(dst func(*template.Template) *string, known []string) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		word := n.scalarText() // 386 is a number in YAML
		if (n.kind == kindText || n.kind == kindNumber) && slices.Contains(known, word) {
			*dst(t) = word
			return
		}
		hint := d.ld.problems.hint(word, known)
		if ours := foreign[strings.ToLower(word)]; slices.Contains(known, ours) {
			hint = "; did you mean " + ours + "?"
		}
		d.fail(n.pos, f.name, "must be one of %s, this is %s%s", strings.Join(known, ", "), n.describe(), hint)
	}
}

func aboveZero(dst func(*template.Template) *float64) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		switch {
		case n.kind != kindNumber:
			d.want(f, n, "a number")
		case n.number <= 0:
			d.fail(n.pos, f.name, "must be above 0, this is %s", numberText(n.number))
		default:
			*dst(t) = n.number
		}
	}
}

// wholeOf reads a whole number within bounds.
func (d *fieldDecoder) wholeOf(f *field, n *node, low, high float64) (int64, bool) {
	switch {
	case n.kind != kindNumber:
		d.want(f, n, "a whole number")
	case n.number != math.Trunc(n.number):
		d.fail(n.pos, f.name, "must be a whole number, this is %s", numberText(n.number))
	case n.number < low || n.number > high:
		d.fail(n.pos, f.name, "must be %s to %s, this is %s", numberText(low), numberText(high), numberText(n.number))
	default:
		return int64(n.number), true
	}
	return 0, false
}

func whole(dst func(*template.Template) *int, low, high int) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		if v, ok := d.wholeOf(f, n, float64(low), float64(high)); ok {
			*dst(t) = int(v)
		}
	}
}

// boolean sets a flag; yes is its value where the field is true.
func boolean(dst func(*template.Template) *bool, yes bool) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		if n.kind != kindBool {
			d.want(f, n, "true or false")
			return
		}
		*dst(t) = n.flag == yes
	}
}

func size(dst func(*template.Template) *int64) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		if n.kind != kindNumber && n.kind != kindText {
			d.want(f, n, "a size such as 512m, 4GiB or 1073741824")
			return
		}
		bytes, err := parseSize(n.scalarText())
		if err != nil {
			d.fail(n.pos, f.name, "%v", err)
			return
		}
		*dst(t) = bytes
	}
}

func decodeLabels(d *fieldDecoder, f *field, n *node, t *template.Template) {
	if n.kind != kindList {
		d.want(f, n, "a list of labels")
		return
	}
	labels := make([]string, 0, len(n.items))
	good := true
	for _, item := range n.items {
		if item.kind != kindText {
			d.want(f, item, "text")
			good = false
			continue
		}
		if _, err := template.Canonical([]string{item.text}); err != nil {
			d.fail(item.pos, f.name, "%v", err)
			good = false
			continue
		}
		labels = append(labels, item.text)
	}
	if !good {
		return
	}
	canonical, err := template.Canonical(labels)
	if err != nil {
		d.fail(n.pos, f.name, "%v", err)
		return
	}
	t.Labels = canonical
}

func decodeGPUs(d *fieldDecoder, f *field, n *node, t *template.Template) {
	if n.kind == kindText {
		if n.text == "all" {
			t.GPUs = -1
			return
		}
		d.want(f, n, "a whole number or all")
		return
	}
	if v, ok := d.wholeOf(f, n, 0, maxGPUs); ok {
		t.GPUs = int(v)
	}
}

func decodePidsLimit(d *fieldDecoder, f *field, n *node, t *template.Template) {
	v, ok := d.wholeOf(f, n, -1, 1<<22)
	if ok && v == 0 {
		d.fail(n.pos, f.name, "must be 1 or more, or -1 for no limit, this is 0")
		return
	}
	if ok {
		t.PidsLimit = v
	}
}

// The pull policies, as package backend has them.
const (
	pullIfNotPresent = "if-not-present"
	pullIfOlder      = "if-older"
)

func decodePullPolicy(d *fieldDecoder, f *field, n *node, t *template.Template) {
	known := []string{"always", pullIfNotPresent, "never"}
	switch {
	case n.kind == kindNumber:
		d.fail(n.pos, f.name, "a duration needs a unit: write %ss, %sm or %sh", n.scalarText(), n.scalarText(), n.scalarText())
	case n.kind != kindText:
		d.want(f, n, "always, if-not-present, never or a duration")
	case slices.Contains(known, n.text):
		t.PullPolicy = n.text
	default:
		age, err := time.ParseDuration(n.text)
		switch {
		case err != nil:
			d.fail(n.pos, f.name, "must be always, if-not-present, never or a duration such as 24h, this is %s%s", quote(n.text), d.ld.problems.hint(n.text, known))
		case age <= 0:
			d.fail(n.pos, f.name, "a duration must be above 0, this is %s", n.text)
		default:
			t.PullPolicy, t.PullMaxAge = pullIfOlder, age
		}
	}
}

func duration(dst func(*template.Template) *time.Duration) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		word := n.scalarText()
		if _, isNumber := parseNumber(word); n.kind == kindNumber || n.kind == kindText && isNumber {
			d.fail(n.pos, f.name, "a duration needs a unit: write %ss, %sm or %sh", word, word, word)
			return
		}
		if n.kind != kindText {
			d.want(f, n, "a duration such as 90s or 1h30m")
			return
		}
		v, err := time.ParseDuration(n.text)
		switch {
		case err != nil:
			d.fail(n.pos, f.name, "must be a duration such as 90s or 1h30m, this is %s", quote(n.text))
		case v <= 0:
			d.fail(n.pos, f.name, "must be above 0, this is %s", n.text)
		default:
			*dst(t) = v
		}
	}
}

func decodeEnv(d *fieldDecoder, f *field, n *node, t *template.Template) {
	if n.kind != kindMap {
		d.want(f, n, "a map from name to value")
		return
	}
	if len(n.entries) > maxEntries {
		d.fail(n.pos, f.name, "more than %d entries", maxEntries)
		return
	}
	env := make(map[string]string, len(n.entries))
	for _, e := range n.entries {
		switch {
		case e.key == "" || strings.ContainsAny(e.key, "= \t") || strings.ContainsFunc(e.key, isControl):
			d.fail(e.pos, f.name, "%s is not a name of a variable", quote(e.key))
		case e.val.kind == kindList || e.val.kind == kindMap:
			d.fail(e.val.pos, join(f.name, e.key), "must be text, a number or a boolean, this is %s", e.val.kind)
		case len(e.val.text) > maxFieldText:
			d.fail(e.val.pos, join(f.name, e.key), "is longer than %d KiB", maxFieldText>>10)
		default:
			env[e.key] = e.val.scalarText()
		}
	}
	t.Env = env
}

func decodeTmpfs(d *fieldDecoder, f *field, n *node, t *template.Template) {
	tmpfs := map[string]string{}
	add := func(at pos, path, options string) {
		if target, ok := d.target(at, f.name, path); ok {
			if _, twice := tmpfs[target]; twice {
				d.fail(at, f.name, "%s is there twice", target)
			}
			tmpfs[target] = options
		}
	}
	switch n.kind {
	case kindList:
		for _, item := range n.items {
			if item.kind != kindText {
				d.want(f, item, "a path")
				continue
			}
			add(item.pos, item.text, "")
		}
	case kindMap:
		for _, e := range n.entries {
			if e.val.kind != kindText && e.val.kind != kindNull {
				d.want(f, e.val, "mount options")
				continue
			}
			add(e.pos, e.key, strings.TrimSpace(e.val.text))
		}
	default:
		d.want(f, n, "a map from path to options, or a list of paths")
		return
	}
	t.Tmpfs = tmpfs
}

// known capabilities of Linux, see capabilities(7).
var linuxCapabilities = strings.Fields(`ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN
	DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD
	NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT
	SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)

// capabilities reads a list of them: in capitals, without CAP_, each once.
func capabilities(dst func(*template.Template) *[]string) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		if n.kind != kindList {
			d.want(f, n, "a list of capabilities")
			return
		}
		var out []string
		for _, item := range n.items {
			name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(item.text)), "CAP_")
			switch {
			case item.kind != kindText:
				d.want(f, item, "text")
			case !slices.Contains(linuxCapabilities, name):
				d.fail(item.pos, f.name, "unknown capability %s%s", quote(item.text), d.ld.problems.hint(name, linuxCapabilities))
			case !slices.Contains(out, name):
				out = append(out, name)
			}
		}
		*dst(t) = out
	}
}

// words reads a list of words, or a text that is split into words.
func words(dst func(*template.Template) *[]string) decodeFunc {
	return func(d *fieldDecoder, f *field, n *node, t *template.Template) {
		var out []string
		switch n.kind {
		case kindText:
			var err error
			if out, err = splitWords(n.text); err != nil {
				d.fail(n.pos, f.name, "%v", err)
				return
			}
		case kindList:
			for i, item := range n.items {
				if item.kind == kindNull || item.kind == kindList || item.kind == kindMap {
					d.fail(item.pos, f.name+"["+strconv.Itoa(i)+"]", "must be text, this is %s", item.kind)
					return
				}
				out = append(out, item.scalarText())
			}
		default:
			d.want(f, n, "a list of words, or text")
			return
		}
		if len(out) == 0 || out[0] == "" {
			d.fail(n.pos, f.name, "must have a word that is not empty; leave the field out for the image's")
			return
		}
		*dst(t) = out
	}
}
