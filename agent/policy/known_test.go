package policy

import (
	"reflect"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/docker"
)

// judged are the fields that a rule judges or that can do no harm; see refusals
// and TestKeys for what becomes of their values. It repeats what known says on purpose: a
// field that is added there must be added here, and be thought about.
var judged = strings.Fields(`
	Name Image Digest InjectRunner DefaultNetwork VolumePrefix Volumes
	Config.User Config.Env Config.Cmd Config.Entrypoint Config.Image Config.Labels Config.StopSignal
	HostConfig.LogConfig.Type HostConfig.LogConfig.Config HostConfig.NetworkMode HostConfig.RestartPolicy.Name
	HostConfig.CapAdd HostConfig.CapDrop HostConfig.ExtraHosts HostConfig.Privileged HostConfig.ReadonlyRootfs
	HostConfig.SecurityOpt HostConfig.Tmpfs HostConfig.ShmSize HostConfig.Runtime
	HostConfig.NanoCPUs HostConfig.Memory HostConfig.MemorySwap HostConfig.PidsLimit
	HostConfig.DeviceRequests.Count HostConfig.DeviceRequests.DeviceIDs HostConfig.DeviceRequests.Capabilities
	HostConfig.Mounts.Type HostConfig.Mounts.Source HostConfig.Mounts.Target HostConfig.Mounts.ReadOnly
	HostConfig.Mounts.VolumeOptions.NoCopy HostConfig.Mounts.VolumeOptions.Labels
	Platform.OS Platform.Architecture Network.Name Network.Driver Network.Labels Network.Options`)

// leaf is one field of a request, however deep, and how to reach it: reach makes
// what is missing on the way.
type leaf struct {
	path  string
	reach func(reflect.Value) reflect.Value
}

// leaves lists every field below a type.
func leaves(t reflect.Type, path string, reach func(reflect.Value) reflect.Value) []leaf {
	if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		inner := leaves(t.Elem(), path, func(root reflect.Value) reflect.Value {
			v := reach(root)
			if v.IsNil() {
				v.Set(reflect.New(t.Elem()))
			}
			return v.Elem()
		})
		return append(inner, leaf{path, reach})
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && path != "Volumes" {
		inner := leaves(t.Elem(), path, func(root reflect.Value) reflect.Value {
			v := reach(root)
			v.Set(reflect.Append(v, reflect.Zero(t.Elem())))
			return v.Index(v.Len() - 1)
		})
		return append(inner, leaf{path, reach})
	}
	if t.Kind() != reflect.Struct {
		return []leaf{{path, reach}}
	}
	var out []leaf
	for i := range t.NumField() {
		at := strings.TrimPrefix(path+"."+t.Field(i).Name, ".")
		if t.Field(i).Anonymous {
			at = path
		}
		switch at {
		case "Host":
			at = "HostConfig"
		case "Networking":
			at = "NetworkingConfig"
		}
		out = append(out, leaves(t.Field(i).Type, at, func(root reflect.Value) reflect.Value { return reach(root).Field(i) })...)
	}
	return out
}

// some is a value that the engine would see.
func some(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.Append(v, some(t.Elem())))
	case reflect.Array:
		v.Index(0).Set(some(t.Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(some(t.Key()), some(t.Elem()))
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem())) // what it points to says nothing, and the engine sees it all the same
	case reflect.Struct: // as it is
	default:
		panic("a kind that no request had: " + t.String())
	}
	return v
}

// Whatever field of the engine's API is set, alone and on top of an ordinary
// request: unless a rule covers it, it is refused by its name.
func TestEveryOtherFieldIsRefused(t *testing.T) {
	covered := map[string]bool{}
	for _, path := range judged {
		covered[path] = false
	}
	all := leaves(reflect.TypeFor[docker.Request](), "", func(root reflect.Value) reflect.Value { return root })
	require.Greater(t, len(all), 120, "the walk must see the whole of the request")
	others := 0
	for _, one := range all {
		if _, is := covered[one.path]; is {
			covered[one.path] = true
			continue
		}
		switch one.path { // their fields are what counts
		case "Config", "HostConfig", "Platform", "Network", "HostConfig.Mounts", "HostConfig.DeviceRequests", "HostConfig.Mounts.VolumeOptions":
			continue
		}
		others++
		t.Run(one.path, func(t *testing.T) {
			r := request()
			v := one.reach(reflect.ValueOf(&r).Elem())
			v.Set(some(v.Type()))
			everything, err := New(Rules{Privileged: true, Capabilities: []string{"ALL"}})
			require.NoError(t, err)
			for _, p := range []*Policy{Default(), everything} {
				var refusal *Refusal
				require.ErrorAs(t, p.Review(r), &refusal)
				require.Equal(t, "field", refusal.Rule)
				require.True(t, strings.HasPrefix(refusal.Detail, one.path+" is set") || strings.HasPrefix(one.path, firstWord(refusal.Detail)+"."), "%s", refusal.Detail)
				require.Empty(t, refusal.Remedy)
			}
		})
	}
	require.Greater(t, others, 80)
	for path, found := range covered {
		require.True(t, found, "%s is no field of a request any more", path)
		require.True(t, known[path], "%s", path)
	}
	containers := 0
	for path := range known {
		if _, is := covered[path]; !is {
			containers++
		}
	}
	require.Equal(t, 7, containers, "a field is known that no test has thought about")
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// A version of the engine's module with a field more does not let it through.
func TestNewFieldOfTheEngine(t *testing.T) {
	next := struct {
		container.HostConfig
		Mind struct{ Control bool }
	}{}
	path, found := walk("HostConfig", reflect.ValueOf(next))
	require.False(t, found, path)
	next.Mind.Control = true
	path, found = walk("HostConfig", reflect.ValueOf(next))
	require.True(t, found)
	require.Equal(t, "HostConfig.Mind.Control", path)
}
