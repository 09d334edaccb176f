// Package apitest holds the table test of who may use which route: every route
// times every kind of credential, good ones and bad ones.
//
// Credentials makes the credentials, Check asks every route with each of them. The
// list of routes comes from what was registered, so that none can be forgotten. A
// request names things that don't exist and brings no body, so that one which is
// let in changes nothing.
package apitest
