package expr

import (
	"errors"
	"reflect"
	"strconv"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// orderedMap is a CEL map that keeps the order of its keys: CEL's own are Go
// maps, and a file must render to the same templates every time.
type orderedMap struct {
	keys  []ref.Val
	vals  []ref.Val
	index map[any]int
}

var _ traits.Mapper = (*orderedMap)(nil)

func newOrderedMap(size int) *orderedMap {
	return &orderedMap{index: make(map[any]int, size)}
}

// mapKey is a key in the form in which equal keys are equal: CEL's numbers are,
// whatever their type.
func mapKey(key ref.Val) (any, bool) {
	switch k := key.(type) {
	case types.String:
		return string(k), true
	case types.Bool:
		return bool(k), true
	case types.Int:
		return int64(k), true
	case types.Uint:
		n, ok := k.ConvertToType(types.IntType).(types.Int)
		return int64(n), ok
	case types.Double:
		n := int64(k)
		return n, types.Double(n) == k
	}
	return nil, false
}

// put adds a key or changes its value, and tells whether the key is a good one
// and new.
func (m *orderedMap) put(key, val ref.Val) (fresh, ok bool) {
	k, ok := mapKey(key)
	if !ok {
		return false, false
	}
	if i, there := m.index[k]; there {
		m.vals[i] = val
		return false, true
	}
	m.index[k] = len(m.keys)
	m.keys = append(m.keys, key)
	m.vals = append(m.vals, val)
	return true, true
}

// Find looks a key up. A number or a truth value finds a text key too: in the file
// every key is text, the 2 of {2: small} as well.
func (m *orderedMap) Find(key ref.Val) (ref.Val, bool) {
	k, good := mapKey(key)
	i, ok := m.index[k]
	if text, is := scalarText(key); !ok && is {
		i, ok = m.index[text]
		good = true
	}
	if !good || !ok {
		return nil, false
	}
	return m.vals[i], true
}

// scalarText is a number or a truth value as the file's text.
func scalarText(key ref.Val) (string, bool) {
	switch k := key.(type) {
	case types.Bool:
		return strconv.FormatBool(bool(k)), true
	case types.Int:
		return document.NumberText(float64(k)), true
	case types.Uint:
		return document.NumberText(float64(k)), true
	case types.Double:
		return document.NumberText(float64(k)), true
	}
	return "", false
}

// Get is Find for the index operator.
func (m *orderedMap) Get(key ref.Val) ref.Val {
	if v, ok := m.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

// Contains says whether a key is there.
func (m *orderedMap) Contains(key ref.Val) ref.Val {
	_, ok := m.Find(key)
	return types.Bool(ok)
}

// Size counts the keys.
func (m *orderedMap) Size() ref.Val { return types.Int(len(m.keys)) }

// Iterator goes through the keys in their order.
func (m *orderedMap) Iterator() traits.Iterator {
	return listOf(m.keys).(traits.Lister).Iterator()
}

// Equal compares keys and values; the order does not matter.
func (m *orderedMap) Equal(other ref.Val) ref.Val {
	o, ok := other.(traits.Mapper)
	if !ok || o.Size() != m.Size() {
		return types.False
	}
	for i, key := range m.keys {
		val, ok := o.Find(key)
		if !ok || types.Equal(m.vals[i], val) != types.True {
			return types.False
		}
	}
	return types.True
}

// ConvertToType knows maps and types.
func (m *orderedMap) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return m
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from map to %s", t.TypeName())
}

// ConvertToNative is not needed: what leaves an expression is read as it is.
func (m *orderedMap) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("a map has no native form")
}

// Type is map.
func (m *orderedMap) Type() ref.Type { return types.MapType }

// Value is the map itself.
func (m *orderedMap) Value() any { return m }
