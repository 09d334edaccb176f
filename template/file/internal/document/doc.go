// Package document reads a YAML file into nodes that know their places.
//
// It is strict: one document, no key twice, no unknown tag, no endless alias. It
// finds the ${{ }} in texts and evaluates none. What is wrong, here and in what is
// made of the nodes later, is collected with line and column: all of it, each once.
package document
