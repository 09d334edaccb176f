// Package hostile holds the attacks on the whole hub that it must withstand: agents
// that lie, flood and hang, with a valid credential of their own host or without
// one, and what other hosts notice of that. It has tests alone.
package hostile
