package tokens

import "regexp"

// anyToken matches every token in a text, and what could be one: it would
// rather hide too much.
var anyToken = regexp.MustCompile(`sf_(?:[a-z0-9]+_)?[a-z]{2,3}_[A-Za-z0-9_-]{16,}`)

// Redact replaces every token in text: for texts of others (an engine's, an
// API's) before they are logged or passed on.
func Redact(text string) string { return anyToken.ReplaceAllString(text, "sf_…") }
