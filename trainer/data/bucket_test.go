package data

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// The data sets in a real bucket, as a folder and as archives.
func TestBucket(t *testing.T) {
	quiet(t)
	s3 := storetest.MinIO(t)
	open := func(uri string) (store.Store, error) { return store.Open(t.Context(), uri, s3) }
	bucket, err := open("s3://" + storetest.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	put := func(prefix string, files map[string][]byte) {
		for name, content := range files {
			if _, err := bucket.Put(t.Context(), prefix+name, bytes.NewReader(content), int64(len(content))); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("cifar/", cifarFolderOf())
	put("pets/", imageFolderOf(t))
	put("", map[string][]byte{"packed.tar.gz": tarGz("", cifarFolderOf())})
	want, err := loadAt(t, v1.CIFAR10, folder(t, cifarFolderOf()), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"s3://models/cifar", "s3://models/packed.tar.gz"} {
		got, err := load(t.Context(), v1.DatasetSpec{Format: v1.CIFAR10, URI: uri}, 0, open, t.TempDir())
		if err != nil || !reflect.DeepEqual(want, got) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	dir := t.TempDir()
	for range 2 { // the second time from the cache
		d, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: "s3://models/pets/"}, 0, open, dir)
		if err != nil || !slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) {
			t.Errorf("pets: %v", err)
		}
	}
}
