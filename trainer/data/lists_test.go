package data

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// listed are seven images beside lists of five for training and two for the test.
func listed(t testing.TB) map[string][]byte {
	files := map[string][]byte{
		"train.csv": []byte("\ufefffile,label\nimg/a.png,dog\nimg/b.JPG,cat\nimg/c,dog\n\n\"img/d,e.png\", cat \nf.png,cat\n"),
		"test.csv":  []byte("label,split,Filename\ncat,x,g.png\ndog,y,img/h.png\n"),
	}
	for i, name := range []string{"img/a.png", "img/b.JPG", "img/c", "img/d,e.png", "f.png", "g.png", "img/h.png"} {
		files[name] = shade(t, byte(10*(i+1)), 6, 8)
	}
	files["unlisted.png"] = []byte("garbage")
	return files
}

func TestLists(t *testing.T) {
	csv := listed(t)
	lines := maps.Clone(csv)
	delete(lines, "train.csv")
	lines["train.jsonl"] = []byte(`{"file": "img/a.png", "label": "dog", "by": [1]}` + "\n" + `{"file_name": "img/b.JPG", "class": "cat"}` + "\r\n\n" +
		`{"path": "img/c", "label": "dog"}` + "\n" + `{"image": "img/d,e.png", "label": "cat"}` + "\n" + `{"file": "f.png", "label": "cat"}`)
	for name, files := range map[string]map[string][]byte{
		"csv": csv, "jsonl": lines, "in a folder": renamed(csv, "", "pets/"), "tar": {"x.tar": tarOf("", csv)}, "val": renamed(csv, "test.csv", "val.csv"),
	} {
		d, err := loadAt(t, v1.ImageFolder, folder(t, files), 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff([]string{"cat", "dog"}, d.Classes); diff != "" || !slices.Equal(d.Train.Labels, []int64{1, 0, 1, 0, 0}) || !slices.Equal(d.Test.Labels, []int64{0, 1}) ||
			!slices.Equal(reds(d.Train), []byte{10, 20, 30, 40, 50}) || !slices.Equal(reds(d.Test), []byte{60, 70}) {
			t.Errorf("%s: %v, labels %v and %v, images %v and %v", name, d.Classes, d.Train.Labels, d.Test.Labels, reds(d.Train), reds(d.Test))
		}
	}
}

// Labels that are whole numbers are in the order of their values, as those that read them expect.
func TestListsOfNumbers(t *testing.T) {
	files := listed(t)
	files["train.csv"] = []byte("file,label\nimg/a.png,10\nimg/b.JPG,9\n")
	files["test.csv"] = []byte("file,label\ng.png,9\nimg/h.png,10\n")
	d, err := loadAt(t, v1.ImageFolder, folder(t, files), 0)
	if err != nil || !slices.Equal(d.Classes, []string{"9", "10"}) || !slices.Equal(d.Train.Labels, []int64{1, 0}) {
		t.Error(d, err)
	}
}

func TestBadLists(t *testing.T) {
	for name, test := range map[string]struct{ train, want string }{
		"no header":     {"img/a.png,dog\nimg/b.JPG,cat\n", `train.csv: the first line must name the columns file and label`},
		"empty":         {"", "train.csv: is empty"},
		"header only":   {"file,label\n", "train.csv: lists no images"},
		"not there":     {"file,label\nimg/a.png,dog\nimg/x.png,cat\n", `train.csv: line 3: "img/x.png" is not there`},
		"twice":         {"file,label\nimg/a.png,dog\nf.png,cat\n./img/a.png,cat\n", "train.csv: line 4: ./img/a.png is listed already, in line 2"},
		"no label":      {"file,label\nimg/a.png,\n", "train.csv: line 2: img/a.png has no label"},
		"no file":       {"file,label\n,dog\n", "train.csv: line 2: names no file"},
		"columns":       {"file,label\nimg/a.png,dog,3\n", "train.csv: record on line 2: wrong number of fields"},
		"quotes":        {"file,label\n\"img/a.png,dog\n", "train.csv: "},
		"out of it":     {"file,label\n../../etc/passwd,dog\n", `line 2: "../../etc/passwd" is not there`},
		"unknown label": {"file,label\nimg/a.png,dog\nimg/b.JPG,cow\n", `class "cow" has training images, but no test images`},
		"one class":     {"file,label\nimg/a.png,dog\n", `there is only one class, "dog"`},
		"hidden letter": {"file,label\nimg/a.png,\x1b[31m\n", "has characters that cannot be shown"},
	} {
		files := listed(t)
		files["train.csv"] = []byte(test.train)
		_, err := loadAt(t, v1.ImageFolder, folder(t, files), 0)
		if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: exit code %d: %v", name, exit.Code(err), err)
		}
	}
	files := listed(t)
	files["train.jsonl"] = []byte("{")
	if _, err := loadAt(t, v1.ImageFolder, folder(t, files), 0); !strings.Contains(fmt.Sprint(err), "train.jsonl: there is a list train.csv too") {
		t.Errorf("two lists: %v", err)
	}
	delete(files, "train.csv")
	if _, err := loadAt(t, v1.ImageFolder, folder(t, files), 0); !strings.Contains(fmt.Sprint(err), "train.jsonl: line 1: is no JSON object") {
		t.Errorf("no JSON: %v", err)
	}
}

// Of training images alone, test and validation images are drawn, in this order and by the seed.
func TestASplitOfOnesOwn(t *testing.T) {
	quiet(t)
	files := map[string][]byte{}
	for i := range 20 {
		files[fmt.Sprintf("train/%c/%02d.png", 'a'+i%2, i)] = shade(t, byte(i), 6, 8)
	}
	spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, files), TestFraction: 0.2, ValidationFraction: 0.25}
	for range 2 {
		d, err := loadSpec(t, spec)
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, im := range []*Images{&d.Train, &d.Validation, &d.Test} {
			for b, err := range im.Batches(t.Context(), 1, 0, 1) {
				if red := b.Pixels[0]; err != nil || int64(red%2) != b.Labels[0] {
					t.Errorf("image %d has label %d, %v", red, b.Labels[0], err)
				}
				all = append(all, b.Pixels[0])
			}
		}
		slices.Sort(all)
		if d.Train.N != 12 || d.Validation.N != 4 || d.Test.N != 4 || len(slices.Compact(all)) != 20 {
			t.Errorf("%d, %d and %d images, %v", d.Train.N, d.Validation.N, d.Test.N, all)
		}
		stayEncoded(t)
	}
	spec.TestFraction = 0.01
	if _, err := loadSpec(t, spec); exit.Code(err) != contract.ExitConfig || !strings.Contains(fmt.Sprint(err), "spec.dataset.testFraction: 0.01 of 20 training images leaves 0 for testing") {
		t.Errorf("too few: %v", err)
	}
	files["test/a/x.png"], files["test/b/y.png"] = files["train/a/00.png"], files["train/a/00.png"]
	spec.URI, spec.TestFraction = folder(t, files), 0.2
	if _, err := loadSpec(t, spec); exit.Code(err) != contract.ExitConfig || !strings.Contains(fmt.Sprint(err), "holds test images of its own") {
		t.Errorf("both: %v", err)
	}
}
