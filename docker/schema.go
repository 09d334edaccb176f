package docker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Schema says which container label holds what, so that a Backend fits to tools
// that look for labels of their own.
//
// A key k of Spec.Labels is kept in Names[k], else in Prefix + k, else (where
// that name has another meaning) in Prefix + "label." + k. An image may carry
// labels too, which the engine hands down to its containers: the label Keys lists the keys
// that were set by us, and the rest is passed over.
type Schema struct {
	// Prefix begins the names of labels; default "slipway.".
	Prefix string
	// Owner names the label that holds Config.Owner; default Prefix + "owner".
	Owner string
	// Runner names the label that holds the runner's id; default Prefix + "runner".
	Runner string
	// RunnerAliases name labels that hold the id where Runner is not there: those
	// of other versions of a program whose containers are adopted. None is written.
	RunnerAliases []string
	// Keys names the label that lists the keys of Spec.Labels, comma-separated;
	// default Prefix + "keys".
	Keys string
	// Names maps keys of Spec.Labels to label names of their own.
	Names map[string]string
	// KeysOptional takes containers without the label Keys for runners as well, if
	// owner and id are in our form: another program with these labels made them.
	// Of their labels Names alone are told.
	KeysOptional bool
}

func (s Schema) withDefaults() Schema {
	if s.Prefix == "" {
		s.Prefix = "slipway."
	}
	for _, f := range []struct {
		name *string
		key  string
	}{{&s.Owner, "owner"}, {&s.Runner, "runner"}, {&s.Keys, "keys"}} {
		if *f.name == "" {
			*f.name = s.Prefix + f.key
		}
	}
	s.Names = maps.Clone(s.Names)
	return s
}

func (s Schema) validate() error {
	seen := map[string]bool{}
	for _, name := range slices.Concat([]string{s.Owner, s.Runner, s.Keys}, s.RunnerAliases, slices.Sorted(maps.Values(s.Names))) {
		if name == "" || strings.ContainsAny(name, "= ,\x00") {
			return fmt.Errorf("docker: Config.Schema: %q is no name for a label", name)
		}
		if seen[name] {
			return fmt.Errorf("docker: Config.Schema: label %q has two meanings", name)
		}
		seen[name] = true
	}
	return nil
}

// name is the label that holds the key of Spec.Labels. No two keys share one.
func (s Schema) name(key string) string {
	if name, ok := s.Names[key]; ok {
		return name
	}
	name := s.Prefix + key
	if strings.HasPrefix(key, "label.") || name == s.Owner || name == s.Runner || name == s.Keys || slices.Contains(s.RunnerAliases, name) || s.given(name) {
		return s.Prefix + "label." + key
	}
	return name
}

func (s Schema) given(name string) bool {
	for _, given := range s.Names {
		if given == name {
			return true
		}
	}
	return false
}

// encode makes the container's labels.
func (s Schema) encode(owner, id string, labels map[string]string) (map[string]string, error) {
	keys := slices.Sorted(maps.Keys(labels))
	out := map[string]string{s.Owner: owner, s.Runner: id, s.Keys: strings.Join(keys, ",")}
	for _, key := range keys {
		if !validKey(key) {
			return nil, fmt.Errorf("label %q: 1 to 64 characters of a-z 0-9 . _ - are allowed", key)
		}
		if !utf8.ValidString(labels[key]) {
			return nil, fmt.Errorf("label %q: its value is not UTF-8", key)
		}
		out[s.name(key)] = labels[key]
	}
	return out, nil
}

// decode is encode's way back. It says no to labels that encode did not write
// for this owner.
func (s Schema) decode(owner string, labels map[string]string) (id string, out map[string]string, ok bool) {
	keys, listed := labels[s.Keys]
	if labels[s.Owner] != owner || !listed && !s.KeysOptional {
		return "", nil, false
	}
	out = map[string]string{}
	if !listed {
		for key, name := range s.Names {
			if value, there := labels[name]; there {
				out[key] = value
			}
		}
	}
	if keys != "" {
		for key := range strings.SplitSeq(keys, ",") {
			value, there := labels[s.name(key)]
			if !there || !validKey(key) {
				return "", nil, false
			}
			out[key] = value
		}
	}
	for _, name := range append([]string{s.Runner}, s.RunnerAliases...) {
		if id = labels[name]; id != "" {
			break
		}
	}
	return id, out, true
}

func validKey(key string) bool {
	if len(key) == 0 || len(key) > 64 {
		return false
	}
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
