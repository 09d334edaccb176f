// Package shipfoxapi serves a queue over the provisioner and runner API of
// Shipfox, in its three wire generations (head, ert, pr). A provisioner's token
// decides the generation: routes, limits and answers are that generation's, and
// another one's routes are not found.
//
// What the API says was read from its public source (MIT) and from recordings of
// the real server in testdata, which the tests replay. The decisions are made in
// package queue; here is JSON, checking of input, and codes.
package shipfoxapi
