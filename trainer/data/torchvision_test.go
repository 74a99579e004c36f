package data

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
)

// peerCase is the input of a function of testdata/peer.py.
type peerCase map[string]any

// peer is one process for all tests, since importing torchvision takes longer than the rest.
var peer struct {
	sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// torchvision runs cases and returns what each gives, by name. Without torchvision the test fails; with -short it is
// skipped.
func torchvision(t *testing.T, cases []peerCase) map[string][]byte {
	t.Helper()
	if testing.Short() {
		t.Skip("compares with torchvision")
	}
	peer.Lock()
	defer peer.Unlock()
	if peer.in == nil {
		startPeer(t)
	}
	var encoded map[string]string
	err := json.NewEncoder(peer.in).Encode(cases)
	if err == nil {
		var line []byte
		if line, err = peer.out.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &encoded)
		}
	}
	if err != nil {
		t.Fatalf("torchvision (apt-get install python3-torchvision): %v", err)
	}
	results := map[string][]byte{}
	for name, text := range encoded {
		if results[name], err = hex.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	return results
}

// startPeer starts the process; it ends with this one, when its input is closed.
func startPeer(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/peer.py")
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		t.Fatalf("torchvision (apt-get install python3-torchvision): %v", err)
	}
	peer.in, peer.out = in, bufio.NewReader(out)
}

// picture is a smooth image with edges and noise: histograms and luminance are not those of plain noise.
func picture(h, w, c int) *Images {
	im := noise(1, h, w, c)
	for y := range h {
		for x := range w {
			for k := range c {
				i := (y*w+x)*c + k
				v := 40 + 150*x/w + 20*k*y/h + int(im.Pixels[i])/8
				if (x-w/2)*(x-w/2)+(y-h/3)*(y-h/3) < h*w/16 {
					v = 230 - 60*k - int(im.Pixels[i])/16
				}
				im.Pixels[i] = byte(v)
			}
		}
	}
	return im
}

// subjects are images of several shapes and contents.
func subjects() map[string]*Images {
	dark := picture(32, 32, 3) // its range is not all of [0, 255]
	for i := range dark.Pixels {
		dark.Pixels[i] = 50 + dark.Pixels[i]/4
	}
	flat := &Images{N: 1, H: 8, W: 8, C: 3, Pixels: bytes.Repeat([]byte{9, 9, 200}, 64), Labels: []int64{0}}
	return map[string]*Images{
		"rgb": picture(32, 32, 3), "grey": picture(32, 32, 1), "noise": noise(1, 32, 32, 3), "dark": dark,
		"wide": picture(23, 41, 3), "tiny": noise(1, 2, 2, 3), "flat": flat,
	}
}

func (im *Images) peer(function, name string, more peerCase) peerCase {
	c := peerCase{"function": function, "name": name, "shape": []int{im.H, im.W, im.C}, "pixels": hex.EncodeToString(im.Pixels)}
	for k, v := range more {
		c[k] = v
	}
	return c
}

// differences counts the bytes that differ, and returns by how much at most.
func differences(a, b []byte) (count, most int) {
	if len(a) != len(b) {
		return max(len(a), len(b)), 256
	}
	for i := range a {
		if d := int(a[i]) - int(b[i]); d != 0 {
			count, most = count+1, max(most, d, -d)
		}
	}
	return count, most
}

func TestCropFlipAgainstTorchvision(t *testing.T) {
	var cases []peerCase
	got := map[string][]byte{}
	for name, im := range map[string]*Images{"rgb": picture(32, 32, 3), "grey": picture(9, 12, 1)} {
		for i := range 40 {
			g := stream(5, 0, i)
			padding := below(&g, 8)
			at := draw(&g, padding, true)
			for mode, crop := range map[string]func(dst, src []byte, h, w, c, padding int, at window){"constant": cropFlip, "reflect": cropFlipReflect} {
				id := fmt.Sprintf("%s %s %d %+v", name, mode, padding, at)
				cases = append(cases, im.peer("crop_flip", id, peerCase{"padding": padding, "mode": mode, "top": at.top, "left": at.left, "flip": at.flip}))
				got[id] = bytes.Repeat([]byte{0xee}, len(im.Pixels)) // what the buffer held before
				crop(got[id], im.Pixels, im.H, im.W, im.C, padding, at)
			}
		}
	}
	for id, want := range torchvision(t, cases) {
		if !bytes.Equal(got[id], want) {
			t.Errorf("%s differs", id)
		}
	}
}

var policyNames = []string{"Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color",
	"Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"}

// All bins of all operations, in both directions. Every byte is torchvision's; the magnitudes are but for the last bit.
func TestTrivialAugmentAgainstTorchvision(t *testing.T) {
	cases := []peerCase{{"function": "magnitudes", "name": "magnitudes"}}
	got := map[string][]byte{}
	for name, im := range subjects() {
		a := &augmenter{h: im.H, w: im.W, c: im.C}
		for op := range policyOp(trivialOps) {
			for bin := range policyBins {
				if name != "rgb" && bin%5 != 4 { // all bins for one image, some for the others
					continue
				}
				for _, sign := range []float64{1, -1} {
					r, ok := policyRange[op]
					if (!ok && bin > 4) || (sign < 0 && !r.signed) {
						continue
					}
					p := policyChoice{op, sign * policyMagnitudes[op][bin]}
					id := fmt.Sprintf("%s %s %v", name, policyNames[op], p.magnitude)
					cases = append(cases, im.peer("policy", id, peerCase{"op": policyNames[op], "magnitude": p.magnitude}))
					got[id] = make([]byte, len(im.Pixels))
					a.applyPolicy(got[id], im.Pixels, p)
				}
			}
		}
	}
	results := torchvision(t, cases)
	for op := range policyOp(trivialOps) {
		for bin := range policyBins {
			raw := results["magnitudes"][(int(op)*policyBins+bin)*8:]
			if want := math.Float64frombits(binary.LittleEndian.Uint64(raw)); math.Abs(want-policyMagnitudes[op][bin]) > 2e-7*want {
				t.Errorf("magnitude %d of %s is %v, not %v", bin, policyNames[op], policyMagnitudes[op][bin], want)
			}
		}
	}
	for id, img := range got {
		if count, most := differences(img, results[id]); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", id, count, len(img), most)
		}
	}
}

func TestColorJitterAgainstTorchvision(t *testing.T) {
	var cases []peerCase
	got := map[string][]byte{}
	for name, im := range subjects() {
		for which := range jitters {
			factors := []float64{0, 0.3, 0.77, 1.2, 2}
			if which == jitterHue {
				factors = []float64{-0.5, -0.21, 0.05, 0.33, 0.5}
			}
			for _, f := range factors {
				c := jitterChoice{order: [jitters]int{0, 1, 2, 3}, factor: [jitters]float64{1, 1, 1, 0}}
				c.factor[which] = f
				id := fmt.Sprintf("%s %d %v", name, which, f)
				cases = append(cases, im.peer("jitter", id, peerCase{"order": []int{which}, "factor": c.factor}))
				got[id] = slices.Clone(im.Pixels)
				applyJitter(got[id], im.C, c)
			}
		}
		for i := range 10 { // all four
			g := stream(9, 0, i)
			var j jitter
			j.Brightness, j.Contrast, j.Saturation, j.Hue = 0.4, 0.4, 0.4, 0.1
			c := j.draw(&g)
			id := fmt.Sprintf("%s all %d", name, i)
			cases = append(cases, im.peer("jitter", id, peerCase{"order": c.order, "factor": c.factor}))
			got[id] = slices.Clone(im.Pixels)
			applyJitter(got[id], im.C, c)
		}
	}
	for id, want := range torchvision(t, cases) {
		if count, most := differences(got[id], want); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", id, count, len(want), most)
		}
	}
}
