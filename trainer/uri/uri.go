// Package uri says what of a URI people may see.
package uri

import "strings"

// Public takes account, query and fragment out of a URI, where secrets stand: passwords, and the signature of a signed URL.
// What is left also does not change when a URL is signed anew. In the URI of a bucket or a folder ? and # are characters of
// a name. It is safe for what is no URI at all.
func Public(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		scheme, rest = "", uri
	}
	host, path, inHost := strings.Cut(rest, "/")
	if scheme != "s3" && scheme != "file" {
		if i := strings.IndexAny(rest, "?#"); i >= 0 {
			rest = rest[:i]
			host, path, inHost = strings.Cut(rest, "/")
		}
	}
	if ok {
		host = host[strings.LastIndexByte(host, '@')+1:]
		scheme += "://"
	}
	if inHost {
		host += "/"
	}
	return scheme + host + path
}
