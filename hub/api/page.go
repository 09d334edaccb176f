package api

// pageInput is of lists that are short: they are read whole, and answered in pages
// as all lists are.
type pageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor string `query:"cursor" maxLength:"255" doc:"next of the answer before"`
}

// page cuts a page out of what is sorted by key.
func page[T any](all []T, key func(T) string, in *pageInput) list[T] {
	for len(all) > 0 && key(all[0]) <= in.Cursor {
		all = all[1:]
	}
	if len(all) <= in.Limit {
		return listOf(all, "")
	}
	all = all[:in.Limit]
	return listOf(all, key(all[in.Limit-1]))
}
