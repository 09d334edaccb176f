package tokens

// PrefixLength is how much of a token may be shown.
const PrefixLength = prefixLength
