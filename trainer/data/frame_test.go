package data

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// given returns the next numbers that unit24 and below draw from a stream, as numbers in [0, 1).
func given(seed int64, index int) (numbers []float64) {
	g := stream(seed, 0, index)
	for range 30 {
		hi, _ := bits.Mul64(g.Uint64(), 1<<24)
		numbers = append(numbers, float64(hi)/(1<<24))
	}
	return numbers
}

// Boxes and bytes are those of torchvision for the same random numbers.
func TestRandomResizedCropAgainstTorchvision(t *testing.T) {
	specs := map[string]v1.RandomResizedCropSpec{
		"default": {}, "whole": {Scale: []float64{1, 1}, Ratio: []float64{0.5, 2}},
		"small": {Scale: []float64{0.01, 0.1}}, "oblong": {Scale: []float64{0.9, 1}, Ratio: []float64{3, 4}},
	}
	var cases []peerCase
	got := map[string][]byte{}
	for name, spec := range specs {
		for _, shape := range [][3]int{{37, 50, 3}, {50, 37, 3}, {99, 31, 3}, {8, 8, 1}, {64, 64, 1}, {1, 2, 3}} {
			im := picture(shape[0], shape[1], shape[2])
			for _, size := range [][2]int{{22, 22}, {16, 40}} {
				for i := range 6 {
					id := fmt.Sprint(name, shape, size, i)
					c := newRandomResizedCrop(&spec, size[0], size[1])
					g := stream(3, 0, i)
					f := c.draw(&g, im.H, im.W)
					cases = append(cases, im.peer("random_resized_crop", id, peerCase{"h": size[0], "w": size[1],
						"scale": []float64{c.from, c.to}, "ratio": []float64{c.narrow, c.wide}, "random": given(3, i)}))
					for _, v := range []int{f.box.top, f.box.left, f.box.h, f.box.w} {
						got[id] = binary.BigEndian.AppendUint32(got[id], uint32(v))
					}
					out := make([]byte, size[0]*size[1]*im.C)
					var k kit
					if err := k.frameOf(out, im.Pixels, im.H, im.W, im.C, func(int, int) frame { return f }); err != nil {
						t.Fatal(err)
					}
					got[id] = append(got[id], out...)
				}
			}
		}
	}
	for id, want := range torchvision(t, cases) {
		if count, most := differences(got[id], want); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d: boxes %x and %x", id, count, len(want), most, got[id][:16], want[:16])
		}
	}
}

func TestResizeAndCenterCropAgainstTorchvision(t *testing.T) {
	var cases []peerCase
	got := map[string][]byte{}
	for _, shape := range [][2]int{{40, 40}, {31, 57}, {99, 50}, {200, 333}, {9, 12}} {
		im := picture(shape[0], shape[1], 3)
		for _, size := range [][2]int{{37, 32}, {64, 63}, {40, 8}, {16, 16}} {
			id := fmt.Sprint(shape, size)
			cases = append(cases, im.peer("resize_crop", id, peerCase{"resize": size[0], "size": size[1]}))
			got[id] = resizeCrop(raster{im.H, im.W, im.Pixels}, size[0], size[1], size[1]).rgb
		}
	}
	for id, want := range torchvision(t, cases) {
		if count, most := differences(got[id], want); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", id, count, len(want), most)
		}
	}
}

// A part of a JPEG has the bytes that it has in the whole, whatever its planes; and so have crops of other kinds.
func TestPartsOfImages(t *testing.T) {
	files := encoded(t)
	for _, sampling := range [][][2]int{
		{{1, 1}}, {{1, 1}, {1, 1}, {1, 1}}, {{2, 1}, {1, 1}, {1, 1}}, {{2, 2}, {1, 1}, {1, 1}}, {{1, 2}, {1, 1}, {1, 1}},
		{{4, 1}, {1, 1}, {1, 1}}, {{2, 2}, {2, 1}, {1, 2}}, {{1, 1}, {1, 1}, {1, 1}, {1, 1}},
	} {
		for _, size := range [][2]int{{70, 91}, {64, 96}, {33, 17}, {1, 1}} {
			files[fmt.Sprint(sampling, size)] = jpegOf(size[0], size[1], sampling...)
		}
	}
	cases := []peerCase{}
	for name, options := range map[string]options{"4:2:0": {"quality": 70}, "4:2:2": {"subsampling": 1}, "4:4:4": {"subsampling": 0}, "progressive": {"progressive": true}} {
		cases = append(cases, picture(83, 121, 3).peer("encode", name, peerCase{"format": "JPEG", "mode": "RGB", "options": options}))
	}
	for name, made := range torchvision(t, cases) {
		files[name] = made[4 : 4+binary.BigEndian.Uint32(made)]
	}
	g := stream(1, 0, 0)
	for name, content := range files {
		all, err := decodeImage(content)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var k kit
		for range 60 {
			r := rect{below(&g, all.h), below(&g, all.w), 0, 0}
			r.h, r.w = 1+below(&g, all.h-r.top), 1+below(&g, all.w-r.left)
			var want, got []byte
			for y := range r.h {
				want = append(want, all.rgb[3*((r.top+y)*all.w+r.left):][:3*r.w]...)
			}
			f := frame{r, r.h, r.w, rect{0, 0, r.h, r.w}}
			err := k.decode(content, func(int, int) frame { return f }, func(frame) ([]byte, error) {
				got = make([]byte, len(want))
				return got, nil
			})
			if count, most := differences(got, want); err != nil || count > 0 {
				t.Fatalf("%s, %v of %d×%d: %d of %d bytes differ, by up to %d; %v", name, r, all.w, all.h, count, len(want), most, err)
			}
		}
	}
}

// Of a JPEG that is cut off any part is refused, as the whole is.
func TestPartsOfImagesCutOff(t *testing.T) {
	good := jpegOf(70, 91, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1})
	rgb := make([]byte, 3*70*91)
	for _, r := range []rect{{0, 0, 1, 1}, {0, 0, 70, 91}, {40, 0, 30, 91}, {10, 20, 7, 9}} {
		if _, err := decodePart(good, r, rgb); err != nil {
			t.Errorf("%v: %v", r, err)
		}
		for _, lost := range []int{1, 2, 20, len(good) / 2} {
			if _, err := decodePart(good[:len(good)-lost], r, rgb); err == nil {
				t.Errorf("%v without the last %d bytes is read", r, lost)
			}
		}
	}
}

// What torchvision makes of a file, decoded in part by us.
func TestRandomResizedCropOfFiles(t *testing.T) {
	made := torchvision(t, []peerCase{picture(183, 241, 3).peer("encode", "", peerCase{"format": "JPEG", "mode": "RGB", "options": options{"quality": 80}})})[""]
	content := made[4 : 4+binary.BigEndian.Uint32(made)]
	c := newRandomResizedCrop(&v1.RandomResizedCropSpec{}, 96, 96)
	var cases []peerCase
	got := map[string][]byte{}
	var k kit
	for i := range 20 {
		id := fmt.Sprint(i)
		g := stream(4, 0, i)
		cases = append(cases, peerCase{"function": "random_resized_crop", "name": id, "file": hex.EncodeToString(content), "h": 96, "w": 96,
			"scale": []float64{0.08, 1}, "ratio": []float64{3. / 4, 4. / 3}, "random": given(4, i)})
		err := k.decode(content, func(h, w int) frame { return c.draw(&g, h, w) }, func(frame) ([]byte, error) {
			got[id] = make([]byte, 3*96*96)
			return got[id], nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range torchvision(t, cases) {
		if count, most := differences(got[id], want[16:]); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", id, count, len(want), most)
		}
	}
}
