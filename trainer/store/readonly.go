package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Handler serves the files below a folder for reading, and no file elsewhere, whatever links say: GET /?prefix=a/ lists
// them as JSON, GET /a/b has one. OpenHandler is the other end.
func Handler(root *os.Root) http.Handler {
	s := newDir(root.Name())
	files := http.FileServerFS(root.FS())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch key := strings.TrimPrefix(r.URL.Path, "/"); {
		case r.Method != http.MethodGet:
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
		case key != "":
			if stat, err := root.Stat(filepath.FromSlash(key)); err != nil || !stat.Mode().IsRegular() {
				http.NotFound(w, r)
				return
			}
			files.ServeHTTP(w, r)
		default:
			prefix := r.URL.Query().Get("prefix")
			if prefix != "" && !filepath.IsLocal(prefix) {
				http.Error(w, "the prefix leads elsewhere", http.StatusBadRequest)
				return
			}
			infos, err := s.List(r.Context(), prefix)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(infos)
		}
	})
}

// readOnly is a folder behind a Handler.
type readOnly struct {
	uri    string
	client *http.Client
}

// OpenHandler is the folder that a Handler serves, for reading. uri is what people know it as.
func OpenHandler(uri string, dial func(ctx context.Context, network, address string) (net.Conn, error)) Store {
	return &readOnly{strings.TrimRight(uri, "/"), &http.Client{Transport: &http.Transport{DialContext: dial, ResponseHeaderTimeout: time.Minute}}}
}

func (s *readOnly) URI(key string) string { return s.uri + "/" + key }

func (s *readOnly) get(ctx context.Context, key string, query url.Values) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "folder", Path: "/" + key, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", s.URI(key), errors.Unwrap(err)) // without the address, which means nothing
	}
	switch response.StatusCode {
	case http.StatusOK:
		return response, nil
	case http.StatusNotFound:
		err = ErrNotFound
	default:
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		err = errors.New(strings.TrimSpace(string(text)))
	}
	response.Body.Close()
	return nil, fmt.Errorf("%s: %w", s.URI(key), err)
}

func (s *readOnly) Get(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	response, err := s.get(ctx, key, nil)
	if err != nil {
		return nil, Info{}, err
	}
	modified, _ := http.ParseTime(response.Header.Get("Last-Modified"))
	return response.Body, Info{Key: key, Size: response.ContentLength, Modified: modified}, nil
}

func (s *readOnly) List(ctx context.Context, prefix string) (infos []Info, err error) {
	response, err := s.get(ctx, "", url.Values{"prefix": {prefix}})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return infos, json.NewDecoder(response.Body).Decode(&infos)
}

func (s *readOnly) Put(context.Context, string, io.ReadSeeker, int64) (string, error) {
	return "", fs.ErrPermission
}

func (s *readOnly) PutIf(context.Context, string, []byte, string) (string, error) {
	return "", fs.ErrPermission
}

func (s *readOnly) Delete(context.Context, ...string) error { return fs.ErrPermission }
