package shipfox

import (
	"errors"
	"net/url"
)

// unwrapURL takes the method and the address off an error of net/http: the
// route is told already, and an address may hold what is nobody's business.
func unwrapURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
