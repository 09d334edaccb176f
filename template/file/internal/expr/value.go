package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/slipway-ci/slipway/template/file/internal/document"
)

const (
	// maxText is how long a text may get that an expression makes, in bytes.
	maxText = 64 << 10
	// maxWeight is how many values one value may hold.
	maxWeight = 20_000
)

var (
	errTextTooLong = fmt.Errorf("a text of more than %d KiB", maxText>>10)
	errTooHeavy    = fmt.Errorf("a value of more than %d parts", maxWeight)
	errTooDeep     = fmt.Errorf("a value nested more than %d deep", document.MaxDepth)
)

// valueOf is a node as expressions see it: every number a double.
func valueOf(n *document.Node) ref.Val {
	switch n.Kind {
	case document.Bool:
		return types.Bool(n.Flag)
	case document.Number:
		return types.Double(n.Number)
	case document.Text:
		return types.String(n.Text)
	case document.List:
		items := make([]ref.Val, len(n.Items))
		for i, item := range n.Items {
			items[i] = valueOf(item)
		}
		return listOf(items)
	case document.Map:
		m := newOrderedMap(len(n.Entries))
		for _, e := range n.Entries {
			m.put(types.String(e.Key), valueOf(e.Val))
		}
		return m
	}
	return types.NullValue
}

func listOf(items []ref.Val) ref.Val {
	return types.NewRefValList(types.DefaultTypeAdapter, items)
}

// fromVal is a value that the expression at the place at gave, as if it were
// written there. The value's weight was checked.
func fromVal(v ref.Val, at document.Pos) (*document.Node, error) {
	out := &document.Node{Pos: at, Computed: true}
	switch v := v.(type) {
	case types.Null:
		return out, nil
	case types.Bool:
		out.Kind, out.Flag = document.Bool, bool(v)
		return out, nil
	case types.Int, types.Uint, types.Double:
		out.Kind = document.Number
		out.Number = numberOf(v)
		if math.IsNaN(out.Number) || math.IsInf(out.Number, 0) {
			return nil, errors.New("the result is not a finite number")
		}
		return out, nil
	case traits.Mapper:
		out.Kind = document.Map
		return out, eachEntry(v, func(key string, val ref.Val) error {
			n, err := fromVal(val, at)
			out.Entries = append(out.Entries, document.Entry{Key: key, Pos: at, Val: n})
			return err
		})
	case traits.Lister:
		out.Kind = document.List
		return out, EachItem(v, func(val ref.Val) error {
			n, err := fromVal(val, at)
			out.Items = append(out.Items, n)
			return err
		})
	}
	text, err := TextOf(v)
	out.Kind, out.Text = document.Text, text
	return out, err
}

func numberOf(v ref.Val) float64 {
	switch v := v.(type) {
	case types.Int:
		return float64(v)
	case types.Uint:
		return float64(v)
	case types.Double:
		return float64(v)
	}
	return math.NaN()
}

// TextOf is a value as part of a text: null is empty, lists and maps are JSON.
func TextOf(v ref.Val) (string, error) {
	switch v := v.(type) {
	case types.Null:
		return "", nil
	case types.String:
		return string(v), nil
	case types.Duration, types.Timestamp:
		return timeText(v)
	}
	var b strings.Builder
	err := writeJSON(&b, v)
	return b.String(), err
}

// timeText is what CEL's string() makes of a duration (90s) or a timestamp.
func timeText(v ref.Val) (string, error) {
	s, ok := v.ConvertToType(types.StringType).(types.String)
	if !ok {
		return "", fmt.Errorf("a %s has no text", v.Type().TypeName())
	}
	return string(s), nil
}

// writeJSON writes a value as JSON, maps in their order.
func writeJSON(b *strings.Builder, v ref.Val) error {
	if b.Len() > maxText {
		return errTextTooLong
	}
	switch v := v.(type) {
	case types.Null:
		b.WriteString("null")
	case types.Bool:
		b.WriteString(strconv.FormatBool(bool(v)))
	case types.Int:
		b.WriteString(strconv.FormatInt(int64(v), 10))
	case types.Uint:
		b.WriteString(strconv.FormatUint(uint64(v), 10))
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return errors.New("not a finite number")
		}
		b.WriteString(document.NumberText(float64(v)))
	case types.String:
		return writeJSONText(b, string(v))
	case types.Duration, types.Timestamp:
		s, err := timeText(v)
		if err != nil {
			return err
		}
		return writeJSONText(b, s)
	case traits.Mapper:
		return writeJSONMap(b, v)
	case traits.Lister:
		return writeJSONList(b, v)
	default:
		return fmt.Errorf("a value of type %s can't be used here", v.Type().TypeName())
	}
	return nil
}

func writeJSONText(b *strings.Builder, s string) error {
	var quoted strings.Builder
	enc := json.NewEncoder(&quoted)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return err
	}
	b.WriteString(strings.TrimSuffix(quoted.String(), "\n"))
	if b.Len() > maxText {
		return errTextTooLong
	}
	return nil
}

func writeJSONMap(b *strings.Builder, m traits.Mapper) error {
	b.WriteByte('{')
	first := true
	err := eachEntry(m, func(key string, val ref.Val) error {
		if !first {
			b.WriteByte(',')
		}
		first = false
		if err := writeJSONText(b, key); err != nil {
			return err
		}
		b.WriteByte(':')
		return writeJSON(b, val)
	})
	b.WriteByte('}')
	return err
}

func writeJSONList(b *strings.Builder, l traits.Lister) error {
	b.WriteByte('[')
	first := true
	err := EachItem(l, func(val ref.Val) error {
		if !first {
			b.WriteByte(',')
		}
		first = false
		return writeJSON(b, val)
	})
	b.WriteByte(']')
	return err
}

// eachEntry goes through a map in its order; keys that are not text become text.
func eachEntry(m traits.Mapper, f func(key string, val ref.Val) error) error {
	for it := m.Iterator(); it.HasNext() == types.True; {
		k := it.Next()
		key, err := TextOf(k)
		if err != nil {
			return err
		}
		if err := f(key, m.Get(k)); err != nil {
			return err
		}
	}
	return nil
}

func EachItem(l traits.Lister, f func(val ref.Val) error) error {
	for it := l.Iterator(); it.HasNext() == types.True; {
		if err := f(it.Next()); err != nil {
			return err
		}
	}
	return nil
}

// Weigh counts the values in v, what is in it twice twice, and long texts as
// several; it stops with an error soon after maxWeight.
func Weigh(v ref.Val) (int, error) {
	w := weigher{}
	err := w.add(v, 0)
	return w.n, err
}

type weigher struct{ n int }

func (w *weigher) add(v ref.Val, depth int) error {
	if depth > document.MaxDepth {
		return errTooDeep
	}
	if w.n++; w.n > maxWeight {
		return errTooHeavy
	}
	switch v := v.(type) {
	case types.String:
		w.n += len(v) / 64
	case types.Bytes:
		w.n += len(v) / 64
	case traits.Mapper:
		return eachEntry(v, func(key string, val ref.Val) error {
			w.n += 1 + len(key)/64
			return w.add(val, depth+1)
		})
	case traits.Lister:
		return EachItem(v, func(val ref.Val) error { return w.add(val, depth+1) })
	}
	return nil
}

// parseJSON reads one JSON value: numbers are doubles, maps keep their order and
// of a key that is there twice the last value.
func parseJSON(s string) (ref.Val, error) {
	dec := json.NewDecoder(strings.NewReader(s))
	v, err := jsonValue(dec, 0)
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	} else if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func jsonValue(dec *json.Decoder, depth int) (ref.Val, error) {
	if depth > document.MaxDepth {
		return nil, errTooDeep
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return jsonMap(dec, depth)
		}
		return jsonList(dec, depth)
	case bool:
		return types.Bool(token), nil
	case float64:
		return types.Double(token), nil
	case string:
		return types.String(token), nil
	}
	return types.NullValue, nil
}

func jsonMap(dec *json.Decoder, depth int) (ref.Val, error) {
	m := newOrderedMap(0)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		val, err := jsonValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		m.put(types.String(key.(string)), val)
	}
	_, err := dec.Token()
	return m, err
}

func jsonList(dec *json.Decoder, depth int) (ref.Val, error) {
	items := []ref.Val{}
	for dec.More() {
		item, err := jsonValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err := dec.Token()
	return listOf(items), err
}
