package scalesets

import (
	"bytes"
	"context"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Export writes all scale sets in the form that Apply takes; applying it at once, with
// Prune or without, changes nothing. Credentials are named only.
func (r *Registry) Export(ctx context.Context) ([]byte, error) {
	sets, _, err := r.List(ctx, Filter{})
	if err != nil {
		return nil, err
	}
	hosts := r.resolver()
	body := &yaml.Node{Kind: yaml.MappingNode}
	if len(sets) == 0 {
		body.Style = yaml.FlowStyle
	}
	for _, s := range sets {
		d, err := hosts.document(ctx, s)
		if err != nil {
			return nil, err
		}
		body.Content = append(body.Content, textNode(s.Key), d.node())
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	err = enc.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode("version"), valueNode(1), textNode("scale_sets"), body}})
	if err != nil {
		return nil, fmt.Errorf("scalesets: export: %w", err)
	}
	return out.Bytes(), nil
}
