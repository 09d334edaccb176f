package rest

// List is how lists are answered. Next goes into the cursor of the next request;
// null at the end.
type List[T any] struct {
	Items []T     `json:"items" nullable:"false"`
	Next  *string `json:"next"`
}

// ListOf makes a List; next is empty at the end.
func ListOf[T any](items []T, next string) List[T] {
	l := List[T]{Items: items}
	if items == nil {
		l.Items = []T{}
	}
	if next != "" {
		l.Next = &next
	}
	return l
}

// PageInput is of lists that are short: they are read whole, and answered in pages
// as all lists are.
type PageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor string `query:"cursor" maxLength:"255" doc:"next of the answer before"`
}

// Page cuts a page out of what is sorted by key.
func Page[T any](all []T, key func(T) string, in *PageInput) List[T] {
	for len(all) > 0 && key(all[0]) <= in.Cursor {
		all = all[1:]
	}
	if len(all) <= in.Limit {
		return ListOf(all, "")
	}
	all = all[:in.Limit]
	return ListOf(all, key(all[in.Limit-1]))
}
