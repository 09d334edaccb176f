package policy

import (
	"reflect"

	"github.com/slipway-ci/slipway/docker"
)

// known are the fields of a docker.Request that a policy has an opinion on, by
// the engine's names. Any other that is set refuses the launch.
//
// A field belongs here only when a rule judges its value, or when no value of it
// can do harm; the latter are marked free.
var known = map[string]bool{
	"Name": true, "Image": true, "InjectRunner": true,
	// What the agent tells about itself and its engine.
	"Digest": true, "DefaultNetwork": true, "VolumePrefix": true, "Volumes": true,

	"Config":            true,
	"Config.User":       true, // free: a user of the container's own
	"Config.Env":        true,
	"Config.Cmd":        true, // free: the image could do the same
	"Config.Entrypoint": true, // free: as Cmd
	"Config.Image":      true,
	"Config.Labels":     true,
	"Config.StopSignal": true,

	"HostConfig":                             true,
	"HostConfig.LogConfig.Type":              true,
	"HostConfig.LogConfig.Config":            true,
	"HostConfig.NetworkMode":                 true,
	"HostConfig.RestartPolicy.Name":          true,
	"HostConfig.CapAdd":                      true,
	"HostConfig.CapDrop":                     true,
	"HostConfig.ExtraHosts":                  true,
	"HostConfig.Privileged":                  true,
	"HostConfig.ReadonlyRootfs":              true, // free: it takes away
	"HostConfig.SecurityOpt":                 true,
	"HostConfig.Tmpfs":                       true,
	"HostConfig.ShmSize":                     true,
	"HostConfig.Runtime":                     true,
	"HostConfig.NanoCPUs":                    true,
	"HostConfig.Memory":                      true,
	"HostConfig.MemorySwap":                  true,
	"HostConfig.PidsLimit":                   true,
	"HostConfig.DeviceRequests":              true,
	"HostConfig.DeviceRequests.Count":        true,
	"HostConfig.DeviceRequests.DeviceIDs":    true,
	"HostConfig.DeviceRequests.Capabilities": true,
	"HostConfig.Mounts":                      true,
	"HostConfig.Mounts.Type":                 true,
	"HostConfig.Mounts.Source":               true,
	"HostConfig.Mounts.Target":               true,
	"HostConfig.Mounts.ReadOnly":             true,
	"HostConfig.Mounts.VolumeOptions":        true,
	"HostConfig.Mounts.VolumeOptions.NoCopy": true, // free: it leaves an empty volume empty
	"HostConfig.Mounts.VolumeOptions.Labels": true,

	"Platform":              true,
	"Platform.OS":           true, // free: the engine has it or not
	"Platform.Architecture": true, // free: as OS

	"Network":         true,
	"Network.Name":    true,
	"Network.Driver":  true,
	"Network.Labels":  true,
	"Network.Options": true,
}

// engineNames are those of the request's parts where the engine has another.
var engineNames = map[string]string{"Host": "HostConfig", "Networking": "NetworkingConfig"}

// unknownField walks the request and returns the first field that is set and not
// known. It knows the request's type by reflection alone: a field that a later version
// of the engine's module brings is found as well.
func unknownField(r *docker.Request) (string, bool) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if other, ok := engineNames[name]; ok {
			name = other
		}
		if path, found := walk(name, v.Field(i)); found {
			return path, true
		}
	}
	return "", false
}

// walk descends into what is known, as far as it has fields.
func walk(path string, v reflect.Value) (string, bool) {
	switch {
	case unset(v):
		return "", false
	case v.Kind() == reflect.Struct:
		return walkStruct(path, v)
	case !known[path]:
		return path, true
	case v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct:
		return walkStruct(path, v.Elem())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && path != "Volumes":
		for i := range v.Len() {
			if at, found := walkStruct(path, v.Index(i)); found {
				return at, true
			}
		}
	}
	return "", false
}

func walkStruct(path string, v reflect.Value) (string, bool) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		at := path + "." + field.Name
		if field.Anonymous {
			at = path // as the engine has it: the fields of an embedded struct are the outer one's
		}
		if found, is := walk(at, v.Field(i)); is {
			return found, true
		}
	}
	return "", false
}

// unset says whether the engine would see nothing of the value.
func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}
