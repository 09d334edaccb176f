package client

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"
)

// checkText refuses a body with text that is not UTF-8: package json would put other
// characters in its place, and the hub would get what nobody wrote.
func checkText(in any) error {
	where, at := notText("body", reflect.ValueOf(in))
	if d, ok := in.(document); ok {
		where, at = "body", notUTF8(string(d.text))
	}
	if at < 0 {
		return nil
	}
	what := strings.TrimPrefix(strings.TrimPrefix(where, "body"), ".")
	if what == "" {
		what = "the document"
	}
	return &Error{
		Type: problemPrefix + "invalid", Title: http.StatusText(http.StatusUnprocessableEntity), Status: http.StatusUnprocessableEntity,
		Detail: fmt.Sprintf("%s is not UTF-8 text, at its byte %d: only UTF-8 can be sent", what, at),
		Fields: []FieldError{{Location: where, Message: "is not UTF-8 text"}},
	}
}

// notText finds the first text in v that is not UTF-8, and where in it; -1: there is
// none.
func notText(where string, v reflect.Value) (string, int) {
	switch v.Kind() {
	case reflect.String:
		return where, notUTF8(v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return notText(where, v.Elem())
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		for i := range v.Len() {
			if where, at := notText(fmt.Sprintf("%s[%d]", where, i), v.Index(i)); at >= 0 {
				return where, at
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if _, at := notText("", key); at >= 0 {
				return where, at
			}
			if where, at := notText(fmt.Sprintf("%s.%v", where, key), v.MapIndex(key)); at >= 0 {
				return where, at
			}
		}
	case reflect.Struct:
		return notTextIn(where, v)
	}
	return where, -1
}

func notTextIn(where string, v reflect.Value) (string, int) {
	for field, value := range v.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inside := where + "." + name
		if field.Anonymous && name == "" {
			inside = where
		}
		if !field.IsExported() || name == "-" {
			continue
		}
		if found, at := notText(inside, value); at >= 0 {
			return found, at
		}
	}
	return where, -1
}

// notUTF8 is where a text first is not UTF-8, or -1.
func notUTF8(text string) int {
	for at, r := range text {
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(text[at:]); size == 1 {
			return at
		}
	}
	return -1
}
