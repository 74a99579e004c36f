package store

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder behind a Handler reads as the folder itself, nothing can be written, and links lead nowhere.
func TestHandler(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	for _, file := range []string{secret, filepath.Join(dir, "job/model/model.onnx"), filepath.Join(dir, "job/a b%.log")} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("content of "+filepath.Base(file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(dir, "job/link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	server := httptest.NewServer(Handler(root))
	defer server.Close()
	served := Sub(OpenHandler("file:///models", func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}), "job")

	infos, err := served.List(t.Context(), "model/")
	if err != nil || len(infos) != 1 || infos[0].Key != "model/model.onnx" || infos[0].Size != int64(len("content of model.onnx")) {
		t.Errorf("%v, %v", infos, err)
	}
	for _, key := range []string{"model/model.onnx", "a b%.log"} {
		if data, info, err := ReadAll(t.Context(), served, key); err != nil || string(data) != "content of "+filepath.Base(key) || info.Size != int64(len(data)) {
			t.Errorf("%s: %q, %+v, %v", key, data, info, err)
		}
	}
	for _, key := range []string{"nothing", "model", "link", "../../secret"} {
		if data, _, err := ReadAll(t.Context(), served, key); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v", key, data, err)
		}
	}
	if _, err := OpenHandler("file:///models", (&net.Dialer{}).DialContext).List(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "file:///models/ cannot be read") {
		t.Errorf("without a server: %v", err)
	}
	if infos, err := served.List(t.Context(), "../"); err == nil && len(infos) > 0 {
		t.Errorf("elsewhere: %v", infos)
	}
	if _, err := served.Put(t.Context(), "x", strings.NewReader("x"), 1); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("writes: %v", err)
	}
	if r, err := http.Post(server.URL+"/job/x", "", nil); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", r, err)
	}
}
