package standalone

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
)

// asTheReference lets runners gain privileges where neither their template nor
// the defaults of the file say anything about it: the reference does, and its
// image has sudo. What the file says itself stays.
func asTheReference(templates []template.Template, name string, data []byte, options file.Options) ([]template.Template, error) {
	text, asked, err := withPrivileges(data)
	if err != nil || !asked {
		return templates, err
	}
	opened, err := file.Parse(name, text, options)
	if err != nil {
		return nil, fmt.Errorf("%s: with no_new_privileges as the reference has it: %w", name, err)
	}
	allowed := make(map[string]bool, len(opened.Templates))
	for _, t := range opened.Templates {
		allowed[t.Key] = t.AllowNewPrivileges
	}
	for i := range templates {
		templates[i].AllowNewPrivileges = allowed[templates[i].Key]
	}
	return templates, nil
}

// withPrivileges is a file, which was found to be sound, with another default.
// asked is false where the file has a default of its own.
func withPrivileges(data []byte) (text []byte, asked bool, err error) {
	const field = "no_new_privileges"
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, false, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, false, nil
	}
	root := doc.Content[0]
	defaults := value(root, "defaults")
	switch {
	case defaults == nil:
		defaults = &yaml.Node{Kind: yaml.MappingNode}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "defaults"}, defaults)
	case defaults.Kind != yaml.MappingNode: // null
		*defaults = yaml.Node{Kind: yaml.MappingNode}
	case value(defaults, field) != nil:
		return nil, false, nil
	}
	defaults.Content = append(defaults.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: field}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "false"})
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&doc); err != nil {
		return nil, false, err
	}
	return out.Bytes(), true, nil
}

// value is what a map has under a key; nil where it has nothing.
func value(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}
