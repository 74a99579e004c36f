package data

import (
	"encoding/binary"
	"fmt"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// All orientations, in all kinds of files that have one, against Pillow; in the whole and in part.
func TestOrientationAgainstPillow(t *testing.T) {
	var cases []peerCase
	for _, format := range []string{"JPEG", "PNG", "WEBP", "TIFF"} {
		for o := 1; o <= 8; o++ {
			cases = append(cases, picture(19, 30, 3).peer("exif", fmt.Sprint(format, o), peerCase{"format": format, "orientation": o}))
		}
	}
	part := func(h, w int) frame { return frame{rect{2, 3, h - 5, w - 4}, 11, 9, rect{1, 0, 8, 9}} }
	for name, want := range torchvision(t, cases) {
		content := want[4 : 4+binary.BigEndian.Uint32(want)]
		want = want[4+len(content):]
		im, err := Decode(content, true)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := toRGB(im)
		if count, _ := differences(r.rgb, want); count > 0 {
			t.Errorf("%s: %d bytes differ", name, count)
		}
		k := kit{upright: true}
		whole, got := make([]byte, 8*9*3), make([]byte, 8*9*3)
		k.frameOf(whole, want, r.h, r.w, 3, part)
		if err := k.decode(content, part, func(frame) ([]byte, error) { return got, nil }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if count, _ := differences(got, whole); count > 0 {
			t.Errorf("%s: %d bytes of a part differ", name, count)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	for _, content := range encoded(f) {
		f.Add(content)
	}
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x22Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if o := orientation(content); o < 1 || o > 8 {
			t.Error(o)
		}
	})
}

// The option is for images in memory and in files.
func TestExifOrientationOption(t *testing.T) {
	quiet(t)
	turned := torchvision(t, []peerCase{picture(6, 8, 3).peer("exif", "", peerCase{"format": "PNG", "orientation": 6})})[""]
	content := turned[4 : 4+binary.BigEndian.Uint32(turned)]
	files := map[string][]byte{"train/a/1.png": content, "train/b/2.png": content, "test/a/3.png": content, "test/b/4.png": content}
	spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, files)}
	for range 2 {
		for option, want := range map[v1.ExifOrientation]Shape{"": {6, 8, 3, 2}, v1.ExifIgnore: {6, 8, 3, 2}, v1.ExifApply: {8, 6, 3, 2}} {
			spec.ExifOrientation = option
			d, err := loadSpec(t, spec)
			if err != nil || d.Shape() != want {
				t.Fatalf("%q: %v, %v", option, d, err)
			}
			for b, err := range d.Test.Batches(t.Context(), 1, 0, 1) {
				if count, _ := differences(b.Pixels, turned[4+len(content):]); err != nil || (count == 0) != (option == v1.ExifApply) {
					t.Errorf("%q: %d bytes differ, %v", option, count, err)
				}
			}
		}
		stayEncoded(t)
	}
}
