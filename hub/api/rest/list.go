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

// PageOf makes a List that is a page of one; key is where the next page begins, empty
// at the end.
func PageOf[T any](items []T, key string, from From) List[T] { return ListOf(items, from.next(key)) }

// PageInput is of lists that are short: they are read whole, and answered in pages
// as all lists are.
type PageInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"100"`
	From
}

// Page cuts a page out of what is sorted by key.
func Page[T any](all []T, key func(T) string, in *PageInput) List[T] {
	for len(all) > 0 && key(all[0]) <= in.Key() {
		all = all[1:]
	}
	next := ""
	if len(all) > in.Limit {
		all = all[:in.Limit]
		next = key(all[in.Limit-1])
	}
	return PageOf(all, next, in.From)
}
