// Package matrix reads the families of a template file and crosses their axes: which
// variants a family has, in which order, what each binds and the key that it gives.
// What a variant's template is made of is not looked at.
package matrix
