package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// join makes a route of its parts, names of people's among them.
func join(parts ...string) (string, error) {
	for i, part := range parts {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("%w: %q is no name", ErrUsage, part)
		}
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/"), nil
}

// paged is the query of a list.
func paged(limit int, cursor string) url.Values {
	q := url.Values{}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	set(q, "cursor", cursor)
	return q
}

// set sets what is not empty.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// ifMatch is the header that makes an edit one of this version; 0: of any.
func ifMatch(version int64) []string {
	if version == 0 {
		return nil
	}
	return []string{"If-Match", strconv.Quote(strconv.FormatInt(version, 10))}
}

// do calls a route and reads its answer.
func do[T any](ctx context.Context, c *Client, method string, parts []string, in any, headers ...string) (out T, err error) {
	path, err := join(parts...)
	if err != nil {
		return out, err
	}
	return out, c.call(ctx, method, path, nil, in, &out, headers...)
}

func get[T any](ctx context.Context, c *Client, parts ...string) (T, error) {
	return do[T](ctx, c, http.MethodGet, parts, nil)
}

func remove(ctx context.Context, c *Client, parts ...string) error {
	path, err := join(parts...)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil, nil)
}

// page is a list as the hub answers it.
type page[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// fetch reads one page of a list.
func fetch[T any](ctx context.Context, c *Client, path string, query url.Values) (items []T, next string, err error) {
	var p page[T]
	if err := c.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
		return nil, "", err
	}
	if p.Next != nil {
		next = *p.Next
	}
	return p.Items, next, nil
}

// whole reads a list that is short, page by page.
func whole[T any](ctx context.Context, c *Client, path string) (items []T, err error) {
	for query := (url.Values{}); ; {
		part, next, err := fetch[T](ctx, c, path, query)
		if err != nil {
			return nil, err
		}
		items = append(items, part...)
		if next == "" {
			return items, nil
		}
		query.Set("cursor", next)
	}
}
