package standalone

import (
	"bytes"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
)

// asTheReference lets runners gain privileges where neither their template nor
// the defaults of the file say anything about it: the reference does, and its
// image has sudo. What the file says itself stays. data was found to be sound.
func asTheReference(templates []template.Template, name string, data []byte, options file.Options) ([]template.Template, error) {
	text, err := withPrivileges(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	opened, err := file.Parse(name, text, options)
	if err != nil {
		return nil, fmt.Errorf("no_new_privileges as the reference has it: %w", err)
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

// withPrivileges is a template file with one default more, below its own: of the
// maps that are merged the first wins.
func withPrivileges(data []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	root := doc.Content[0]
	maps := &yaml.Node{Kind: yaml.SequenceNode}
	merged := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!merge", Value: "<<"}, maps}}
	at := slices.IndexFunc(root.Content, func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Value == "defaults" })
	if at < 0 {
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "defaults"}, merged)
	} else {
		maps.Content = append(maps.Content, root.Content[at+1])
		root.Content[at+1] = merged
	}
	maps.Content = append(maps.Content, &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: "no_new_privileges"}, {Kind: yaml.ScalarNode, Tag: "!!bool", Value: "false"},
	}})
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(&doc)
	return out.Bytes(), err
}
