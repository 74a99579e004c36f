package data

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/png"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// python2Batch returns a batch as cPickle of Python 2 wrote those of CIFAR, operation by operation.
func python2Batch(key string, labels ...byte) []byte {
	var b bytes.Buffer
	short := func(s string) { b.WriteString("U" + string(rune(len(s))) + s) }
	b.WriteString("\x80\x02}q\x01(")
	short("batch_label")
	b.WriteString("q\x02")
	short("training batch 1 of 5")
	b.WriteString("q\x03")
	short(key)
	b.WriteString("q\x04]q\x05(")
	for _, l := range labels {
		b.Write([]byte{'K', l})
	}
	b.WriteString("e")
	short("data")
	b.WriteString("q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09(K\x01K")
	b.Write([]byte{byte(len(labels))})
	b.WriteString("M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T")
	planes := planesOf(labels...)
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(planes))))
	b.Write(planes)
	b.WriteString("tbU\x09filenamesq\x0c]q\x0d(U\x05a.pngq\x0eeu.")
	return b.Bytes()
}

// planesOf returns the planes of cifarRecords without the labels.
func planesOf(labels ...byte) (planes []byte) {
	records := cifarRecords(labels...)
	for ; len(records) > 0; records = records[1+cifarImage:] {
		planes = append(planes, records[1:1+cifarImage]...)
	}
	return planes
}

// huggingFace is a row as Hugging Face's datasets writes it.
type huggingFace struct {
	Img   huggingFaceImage `parquet:"img"`
	Label int64            `parquet:"label"`
}

type huggingFaceImage struct {
	Bytes []byte `parquet:"bytes"`
	Path  string `parquet:"path,optional"`
}

type huggingFace100 struct {
	Image  huggingFaceImage `parquet:"image"`
	Fine   int64            `parquet:"fine_label"`
	Coarse int64            `parquet:"coarse_label"`
}

func parquetOf[T any](t testing.TB, rows []T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(3))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pngOf is an RGB image as PNG.
func pngOf(t testing.TB, im Images, i int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, im.W, im.H))
	for p := range im.H * im.W {
		copy(img.Pix[4*p:], im.Pixels[(i*im.H*im.W+p)*3:][:3])
		img.Pix[4*p+3] = 255
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func cifarImages(labels ...byte) Images {
	r := records{planesOf(labels...), make([]int64, len(labels))}
	for i, l := range labels {
		r.labels[i] = int64(l)
	}
	return r.images()
}

func huggingFaceRows(t testing.TB, labels ...byte) (rows []huggingFace) {
	im := cifarImages(labels...)
	for i, l := range im.Labels {
		rows = append(rows, huggingFace{huggingFaceImage{pngOf(t, im, i), "a.png"}, l})
	}
	return rows
}

// All versions of CIFAR-10 give the same images.
func TestCIFAR10Versions(t *testing.T) {
	python := map[string][]byte{"test_batch": python2Batch("labels", 9, 8)}
	for i := range byte(5) {
		python[fmt.Sprintf("data_batch_%d", i+1)] = python2Batch("labels", i, i+1)
	}
	hub := map[string][]byte{
		"plain_text/train-00000-of-00002.parquet": parquetOf(t, huggingFaceRows(t, 0, 1, 1, 2, 2)),
		"plain_text/train-00001-of-00002.parquet": parquetOf(t, huggingFaceRows(t, 3, 3, 4, 4, 5)),
		"plain_text/test-00000-of-00001.parquet":  parquetOf(t, huggingFaceRows(t, 9, 8)),
	}
	want, err := loadAt(t, v1.CIFAR10, folder(t, cifarFolderOf()), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string][]byte{
		"python": python, "python in a tar.gz": {"cifar-10-python.tar.gz": tarGz("cifar-10-batches-py/", python)}, "parquet": hub,
	} {
		t.Run(name, func(t *testing.T) {
			files["README.md"] = []byte("of no account")
			got, err := loadAt(t, v1.CIFAR10, folder(t, files), 0)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(want, got) {
				t.Errorf("labels %v and %v", got.Train.Labels, got.Test.Labels)
			}
			few, err := loadAt(t, v1.CIFAR10, folder(t, files), 3)
			if err != nil || few.Train.N != 3 || few.Test.N != 2 || !slices.Equal(few.Train.Labels, want.Train.Labels[:3]) {
				t.Errorf("with a limit: %v", err)
			}
		})
	}
	t.Run("archive in the URI", func(t *testing.T) {
		uri := folder(t, map[string][]byte{"mine.tar": tarOf("some/where/", python)})
		got, err := loadAt(t, v1.CIFAR10, uri+"/mine.tar", 0)
		if err != nil || !reflect.DeepEqual(want, got) {
			t.Error(err)
		}
	})
}

func TestCIFAR100Versions(t *testing.T) {
	record := func(coarse, fine byte) []byte { return append([]byte{coarse, fine}, planesOf(fine)...) }
	im := cifarImages(99, 0, 47)
	var rows []huggingFace100
	for i, l := range im.Labels {
		rows = append(rows, huggingFace100{huggingFaceImage{pngOf(t, im, i), ""}, l, 3})
	}
	binary := map[string][]byte{"train.bin": slices.Concat(record(1, 99), record(3, 0), record(2, 47)), "test.bin": record(0, 5)}
	for name, files := range map[string]map[string][]byte{
		"binary":  binary,
		"archive": {"cifar-100-binary.tar.gz": tarGz("cifar-100-binary/", binary)},
		"python":  {"train": python2Batch("fine_labels", 99, 0, 47), "test": python2Batch("fine_labels", 5)},
		"parquet": {"train.parquet": parquetOf(t, rows), "cifar100-test-0.parquet": parquetOf(t, rows[:1])},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := loadAt(t, v1.CIFAR100, folder(t, files), 0)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(im, d.Train) || d.Test.N != 1 {
				t.Errorf("labels %v, %d test images", d.Train.Labels, d.Test.N)
			}
			if len(d.Classes) != 100 || d.Classes[99] != "worm" || d.Classes[47] != "maple_tree" || !slices.IsSorted(d.Classes) {
				t.Errorf("classes %v", d.Classes)
			}
		})
	}
}

// A dictionary of one value, which all rows refer to, is not copied for each of them.
func TestParquetDictionaryBomb(t *testing.T) {
	type row struct {
		Img struct {
			Bytes []byte `parquet:"bytes,dict"`
		} `parquet:"img"`
		Label int64 `parquet:"label"`
	}
	im := cifarImages(0)
	large := append(pngOf(t, im, 0), make([]byte, 60_000)...)
	huge := append(pngOf(t, im, 0), make([]byte, 1<<20)...)
	for _, test := range []struct {
		content []byte
		want    string
	}{{large, ""}, {huge, "image 0 has 1048"}} {
		rows := make([]row, 2000)
		for i := range rows {
			rows[i].Img.Bytes = test.content
		}
		var b bytes.Buffer
		w := parquet.NewGenericWriter[row](&b)
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		must(t, w.Close())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := cifar10Files.decodeParquet(&file{&b, "x"}, 10, 1000)
		runtime.ReadMemStats(&after)
		if test.want == "" && (err != nil || len(r.labels) != 1000 || len(r.planes) != 1000*cifarImage) || test.want != "" && !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%d images: %v", len(r.labels), err)
		}
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 100 {
			t.Errorf("took %d MiB", mib)
		}
	}
}

// Batches that Python 3 pickled, and numpy of this machine.
func TestPicklesOfPython3(t *testing.T) {
	var cases []peerCase
	for _, protocol := range []int{2, 3, 4} {
		for _, bytesKeys := range []bool{false, true} {
			cases = append(cases, peerCase{"function": "pickled", "name": fmt.Sprintf("%d %v", protocol, bytesKeys), "protocol": protocol,
				"bytes_keys": bytesKeys, "key": "labels", "labels": []int{1, 2, 300}, "planes": hex.EncodeToString(planesOf(1, 2, 3))})
		}
	}
	for name, file := range torchvision(t, cases) {
		planes, labels, err := cifarPickle(file, "labels")
		if err != nil || !bytes.Equal(planes, planesOf(1, 2, 3)) || !slices.Equal(labels, []int64{1, 2, 300}) {
			t.Errorf("%s: labels %v, %v", name, labels, err)
		}
	}
}

func TestBadCIFARVersions(t *testing.T) {
	whole := python2Batch("labels", 1, 2)
	rows := huggingFaceRows(t, 1, 2)
	pq := parquetOf(t, rows)
	broken, small, labelled := slices.Clone(rows), slices.Clone(rows), slices.Clone(rows)
	broken[1].Img.Bytes = broken[1].Img.Bytes[:60]
	small[1].Img.Bytes = pngOf(t, Images{N: 1, H: 2, W: 3, C: 3, Pixels: make([]byte, 18)}, 0)
	labelled[0].Label = -1
	for name, test := range map[string]struct {
		file    string
		content []byte
		want    string
	}{
		"code":               {"data_batch_1", []byte("cos\nsystem\n(S'echo'\ntR."), `the name "os.system" does not belong in it`},
		"protocol 0":         {"data_batch_1", []byte("(dp0\n."), "does not belong in it"},
		"cut off":            {"data_batch_1", whole[:len(whole)/2], "cut off"},
		"empty":              {"data_batch_1", nil, "cut off"},
		"absurd length":      {"data_batch_1", []byte("\x80\x02T\xff\xff\xff\x7f."), "cut off"},
		"other things":       {"data_batch_1", []byte("\x80\x02}."), `without an array of bytes "data" and a list "labels"`},
		"not a dictionary":   {"data_batch_1", []byte("\x80\x02]."), "not a pickled dictionary"},
		"coarse labels":      {"data_batch_1", python2Batch("coarse_labels", 1), `a list "labels"`},
		"label out of range": {"data_batch_1", python2Batch("labels", 1, 10), "label 10 of image 1 is not one of the 10 classes"},
		"floats":             {"data_batch_1", bytes.Replace(whole, []byte("u1K"), []byte("f4K"), 1), "something else than bytes"},
		"transposed":         {"data_batch_1", bytes.Replace(whole, []byte("\x89T"), []byte("\x88T"), 1), "C order"},
		"not parquet":        {"train.parquet", []byte("PAR1 it is not"), "not a parquet file"},
		"parquet cut off":    {"train.parquet", pq[:len(pq)-100], "not a parquet file"},
		"parquet damaged":    {"train.parquet", slices.Concat(pq[:4], bytes.Repeat([]byte{0xff}, 300), pq[304:]), ""},
		"other columns":      {"train.parquet", parquetOf(t, []struct{ X, Label int64 }{{1, 2}}), "needs the columns img.bytes or image.bytes, and label; it has X, Label"},
		"labels as text": {"train.parquet", parquetOf(t, []struct {
			Img   huggingFaceImage `parquet:"img"`
			Label string           `parquet:"label"`
		}{{rows[0].Img, "cat"}}), "type BYTE_ARRAY, not INT64"},
		"png cut off":    {"train.parquet", parquetOf(t, broken), "image 1:"},
		"png size":       {"train.parquet", parquetOf(t, small), "image 1 has 3×2 pixels, not 32×32"},
		"parquet label":  {"train.parquet", parquetOf(t, labelled), "label -1 of image 0"},
		"parquet no row": {"train.parquet", parquetOf(t, rows[:0]), "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{test.file: test.content, "test.parquet": pq}
			_, err := loadAt(t, v1.CIFAR10, folder(t, files), 0)
			t.Log(err)
			if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.file+": ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		})
	}
}

func FuzzCIFARBatch(f *testing.F) {
	f.Add(cifarRecords(1))
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := cifar10Files.decodeBinary(&file{bytes.NewReader(data), ""}, 10, 1<<30)
		if err != nil {
			return
		}
		if im := r.images(); im.N*(1+cifarImage) != len(data) {
			t.Errorf("%d images of %d bytes", im.N, len(data))
		}
	})
}

func FuzzPickle(f *testing.F) {
	f.Add(python2Batch("labels", 1, 2))
	f.Add([]byte("\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94\x88u."))
	f.Add([]byte("\x80\x02]q\x00h\x00a.")) // a list that holds itself
	f.Fuzz(func(t *testing.T, data []byte) {
		if planes, _, err := cifarPickle(data, "labels"); err == nil && len(planes) > 2*len(data) {
			t.Errorf("%d bytes out of %d", len(planes), len(data))
		}
	})
}

func FuzzParquet(f *testing.F) {
	f.Add(parquetOf(f, huggingFaceRows(f, 1, 2)))
	f.Fuzz(func(_ *testing.T, data []byte) {
		cifar10Files.decodeParquet(&file{bytes.NewReader(data), ""}, 10, 100)
	})
}
