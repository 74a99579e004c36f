package data

import (
	"context"
	"net/url"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// IsURL reports whether a URI is that of a web server.
func IsURL(address string) bool {
	scheme, _, _ := strings.Cut(strings.ToLower(address), "://")
	return scheme == "http" || scheme == "https"
}

// ReadURL reads one file of at most so many bytes from a web server, with the patience and the exit codes of Load.
func ReadURL(ctx context.Context, address string, most int64) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "%q is not a URI: %w", uri.Public(address), bare(err))
	}
	w, err := newWeb(u)
	if err != nil {
		return nil, err
	}
	r, _, err := w.Get(ctx, "")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := readAtMost(r, most)
	if err != nil {
		return nil, badData(w.URI(""), err)
	}
	return content, nil
}
