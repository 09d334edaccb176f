// Package images fetches images: when a policy wants it, one pull of an image at a
// time however many ask, with the credentials that its registry takes.
package images
