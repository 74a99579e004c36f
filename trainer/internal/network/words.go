package network

import (
	"errors"
	"strings"
)

var errNoHTTP = errors.New("the server does not speak HTTP")

// Plain takes the words of a server out of an error of net/http, which quotes answers that are none of HTTP: they may be
// of a service that the author of a job may not ask.
func Plain(err error) error {
	for _, quotes := range []string{"malformed HTTP", "malformed MIME header", "malformed chunked encoding", "bad Content-Length"} {
		if strings.Contains(err.Error(), quotes) {
			return errNoHTTP
		}
	}
	return err
}
