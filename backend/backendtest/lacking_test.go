package backendtest

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// A field that is new in Spec is one that a backend may lack, until somebody says
// otherwise here.
func TestFieldsAreThoseOfSpec(t *testing.T) {
	others := []string{
		"ID", "Labels", "Env", "Command", // every runner's
		"PullPolicy", "PullMaxAge", "Credential", // say how an image is fetched, where one is
		"CPU", "Memory", // a limit where the backend can set one
	}
	spec := reflect.TypeFor[backend.Spec]()
	for i := range spec.NumField() {
		name := spec.Field(i).Name
		set := fields[name]
		require.NotEqual(t, slices.Contains(others, name), set != nil, name)
		if set != nil {
			var changed backend.Spec
			set(&changed)
			require.False(t, reflect.ValueOf(changed).Field(i).IsZero(), name)
		}
	}
	require.Equal(t, spec.NumField(), len(fields)+len(others))
}
