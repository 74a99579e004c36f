package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

func mustOpen(t *testing.T, uri string) Store {
	t.Helper()
	st, err := Open(t.Context(), uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestDir(t *testing.T) {
	t.Run("conformance", func(t *testing.T) { conformance(t, mustOpen(t, "file://"+t.TempDir()+"/a/b")) })
	t.Run("sub", func(t *testing.T) { conformance(t, Sub(mustOpen(t, "file://"+t.TempDir()), "/a/b/")) })
}

func TestS3(t *testing.T) {
	spec := storetest.MinIO(t)
	for name, prefix := range map[string]string{"no prefix": "", "prefix": "/team/a/"} {
		t.Run(name, func(t *testing.T) {
			st, err := Open(t.Context(), "s3://"+storetest.Bucket+prefix, spec)
			if err != nil {
				t.Fatal(err)
			}
			if prefix == "" {
				st = Sub(st, "of-its-own")
			}
			conformance(t, st)
		})
	}
}

// conformance is what every backend must do.
func conformance(t *testing.T, st Store) {
	ctx := t.Context()
	put := func(key, content string) string {
		t.Helper()
		etag, err := st.Put(ctx, key, strings.NewReader(content), int64(len(content)))
		if err != nil || etag == "" {
			t.Fatalf("Put %s: %q, %v", key, etag, err)
		}
		return etag
	}
	want := func(key, content, etag string) {
		t.Helper()
		data, info, err := ReadAll(ctx, st, key)
		if err != nil || string(data) != content || info.ETag != etag || info.Size != int64(len(content)) || info.Key != key || info.Modified.IsZero() {
			t.Errorf("Get %s: %q, %+v, %v", key, data, info, err)
		}
	}

	for _, key := range []string{"x", "no/x"} {
		if _, _, err := st.Get(ctx, key); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), st.URI(key)) {
			t.Errorf("Get of a missing object: %v", err)
		}
	}
	if infos, err := st.List(ctx, ""); len(infos) != 0 || err != nil {
		t.Errorf("List of nothing: %v, %v", infos, err)
	}

	first := put("a/b/c.txt", "one")
	want("a/b/c.txt", "one", first)
	second := put("a/b/c.txt", "two")
	want("a/b/c.txt", "two", second)
	if first == second {
		t.Error("another content has the same ETag")
	}
	put("a/bc.txt", "")
	want("a/bc.txt", "", put("a/bc.txt", ""))
	put("z", "z")
	if _, _, err := st.Get(ctx, "a/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of a folder: %v", err)
	}

	listing(t, st)
	if err := st.Delete(ctx, "a/b/c.txt", "a/b/c.txt", "never/was"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if infos, err := st.List(ctx, "a/"); len(infos) != 1 || err != nil {
		t.Errorf("after Delete: %v, %v", infos, err)
	}
	if !strings.HasSuffix(st.URI("a/b"), "/a/b") {
		t.Errorf("URI: %s", st.URI("a/b"))
	}
	t.Run("conditions", func(t *testing.T) { conditions(t, st) })
	t.Run("one winner", func(t *testing.T) { oneWinner(t, st) })
	t.Run("large", func(t *testing.T) { large(t, st) })
}

// listing wants the objects a/b/c.txt of 3 bytes, a/bc.txt and z.
func listing(t *testing.T, st Store) {
	t.Helper()
	for prefix, keys := range map[string][]string{
		"": {"a/b/c.txt", "a/bc.txt", "z"}, "a/": {"a/b/c.txt", "a/bc.txt"}, "a/b": {"a/b/c.txt", "a/bc.txt"},
		"a/b/": {"a/b/c.txt"}, "y/": nil, "y": nil,
	} {
		infos, err := st.List(t.Context(), prefix)
		var got []string
		for _, info := range infos {
			got = append(got, info.Key)
			if info.Key == "a/b/c.txt" && (info.Size != 3 || info.Modified.IsZero()) {
				t.Errorf("List: %+v", info)
			}
		}
		if diff := cmp.Diff(keys, got); diff != "" || err != nil {
			t.Errorf("List %q (-want +got):\n%s%v", prefix, diff, err)
		}
	}
}

func conditions(t *testing.T, st Store) {
	ctx := t.Context()
	refused := func(ifMatch string) {
		t.Helper()
		if _, err := st.PutIf(ctx, "p/latest.json", []byte("no"), ifMatch); !errors.Is(err, ErrPreconditionFailed) {
			t.Errorf("PutIf %q: %v", ifMatch, err)
		}
	}
	refused("0123456789abcdef0123456789abcdef") // there is none
	first, err := st.PutIf(ctx, "p/latest.json", []byte("1"), "")
	if err != nil {
		t.Fatal(err)
	}
	refused("") // there is one
	second, err := st.PutIf(ctx, "p/latest.json", []byte("2"), first)
	if err != nil {
		t.Fatal(err)
	}
	refused(first)
	data, info, err := ReadAll(ctx, st, "p/latest.json")
	if string(data) != "2" || info.ETag != second || err != nil {
		t.Errorf("got %q %+v %v", data, info, err)
	}
	infos, err := st.List(ctx, "p/")
	if len(infos) != 1 || err != nil {
		t.Errorf("List: %v %v", infos, err)
	}
}

func oneWinner(t *testing.T, st Store) {
	etag := ""
	for round := range 3 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		winners := 0
		before := etag
		for writer := range 16 {
			wg.Go(func() {
				got, err := st.PutIf(t.Context(), "race.json", fmt.Appendf(nil, "%d by %d", round, writer), before)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					winners++
					etag = got
				} else if !errors.Is(err, ErrPreconditionFailed) {
					t.Errorf("writer %d: %v", writer, err)
				}
			})
		}
		wg.Wait()
		if winners != 1 {
			t.Errorf("round %d has %d winners", round, winners)
		}
	}
}

// large is above the size at which minio-go uploads in parts.
func large(t *testing.T, st Store) {
	data := make([]byte, 20<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	etag, err := st.Put(t.Context(), "large.bin", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	got, info, err := ReadAll(t.Context(), st, "large.bin")
	if !bytes.Equal(got, data) || info.ETag != etag || err != nil {
		t.Errorf("%d bytes, %+v, %v", len(got), info, err)
	}
}

func TestOpenRefusesOtherURIs(t *testing.T) {
	for _, uri := range []string{"", "/tmp/x", "file://relative", "gs://bucket", "s3://", "s3://b/p//q", "s3://b/p/./q", "s3://b/..", "s3://b/p\n", "file:///models\n"} {
		if _, err := Open(t.Context(), uri, nil); exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(err.Error(), fmt.Sprintf("%q ", uri)) {
			t.Errorf("%q: %v", uri, err)
		}
	}
	for _, uri := range []string{"s3://bucket", "s3://bucket/", "s3://bucket/p/", "s3://bucket/a b/ü", "file:///a//b"} {
		if _, err := Open(t.Context(), uri, nil); err != nil {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

func TestOpenRefusesWrongEndpointsAndRegions(t *testing.T) {
	for field, specs := range map[string][]v1.S3Spec{
		"endpoint": {{Endpoint: "minio:9000"}, {Endpoint: "http://minio:9000\n"}, {Endpoint: "http://minio :9000"}, {Endpoint: "http://minio:9000/models"},
			{Endpoint: "http://minio:9000?x=1"}, {Endpoint: "http://minio:9000/\u00a0"}},
		"region": {{Endpoint: "http://minio:9000", Region: "us-east-1\n"}, {Endpoint: "http://minio:9000", Region: "us east"}},
	} {
		for _, spec := range specs {
			if _, err := Open(t.Context(), "s3://models/p", &spec); exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(err.Error(), "spec.storage.s3."+field+": ") {
				t.Errorf("%+v: %v", spec, err)
			}
		}
	}
}

func TestReadFile(t *testing.T) {
	dir, server := t.TempDir(), &storetest.Flawed{}
	spec := server.Serve(t)
	for _, root := range []string{"file://" + dir, "s3://" + storetest.Bucket} {
		st, err := Open(t.Context(), root, spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteAll(t.Context(), st, "a/model.bin", []byte("w")); err != nil {
			t.Fatal(err)
		}
		if data, err := ReadFile(t.Context(), root+"/a/model.bin", spec); string(data) != "w" || err != nil {
			t.Errorf("%s: %q, %v", root, data, err)
		}
		for _, uri := range []string{root, root + "/", root + "/a", root + "/a/", root + "/none"} {
			if _, err := ReadFile(t.Context(), uri, spec); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", uri, err)
			}
		}
	}
	for _, uri := range []string{"gs://b/model.pt", "model.pt", "s3://"} {
		if _, err := ReadFile(t.Context(), uri, spec); exit.Code(err) != contract.ExitConfig {
			t.Errorf("%s: %v", uri, err)
		}
	}
}
