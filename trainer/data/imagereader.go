package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// imageReader decodes images on all processors; or it finds out where they are, if all of them would be too many.
type imageReader struct {
	files  files
	size   int // of the result; 0: as they are
	resize int // of the shorter side, see centred
	count  int // of all images
	// upright: images are turned as their files say.
	upright bool

	mu    sync.Mutex
	first string // the image whose size all others must have
	h, w  int
}

// mostResident is how many bytes of pixels are held in memory: a quarter of what there is. Tests lower it.
var mostResident = func() int64 {
	if have := memory(); have > 0 {
		return have / 4
	}
	return math.MaxInt64
}

var errTooMany = errors.New("the images are too many to be held in memory")

// readParts fills all parts of a data set. Images stay encoded if all of them are too many to be held in memory, and those
// for training if all of each is needed.
func (r *imageReader) readParts(ctx context.Context, d *Dataset, p parts, whole bool) error {
	parts := []struct {
		to    *Images
		items []item
	}{{&d.Train, p.train}, {&d.Validation, p.validation}, {&d.Test, p.test}}
	if whole {
		r.first, r.h, r.w = p.train[0].file, r.size, r.size
	}
	stay := false
	for i, part := range parts {
		if len(part.items) == 0 {
			continue
		}
		err := errTooMany
		if !stay && !(whole && i == 0) {
			*part.to, err = r.read(ctx, part.items)
		}
		if errors.Is(err, errTooMany) {
			stay = stay || !(whole && i == 0)
			*part.to, err = r.find(ctx, part.items)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// find returns images that stay where they are. Their size is known.
func (r *imageReader) find(ctx context.Context, items []item) (Images, error) {
	im := Images{N: len(items), H: r.h, W: r.w, C: 3, Labels: make([]int64, len(items)),
		encoded: &encodedImages{index: make([]int32, len(items)), choose: r.framing(), upright: r.upright}}
	names := make([]string, len(items))
	for i, it := range items {
		names[i], im.Labels[i], im.encoded.index[i] = it.file, it.label, int32(i)
	}
	telemetry.Log(ctx).Info("images stay in their files, and are decoded when they are needed", "images", len(items), "at", r.files.uri(""))
	var err error
	im.encoded.contents, err = r.files.direct(ctx, names)
	return im, err
}

func (r *imageReader) framing() framing {
	if r.size == 0 {
		return whole
	}
	return centred(r.resize, r.size, r.size)
}

// read returns the images of items, in their order. Those of all calls have the same size.
func (r *imageReader) read(ctx context.Context, items []item) (Images, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	im := &Images{N: len(items), C: 3, Labels: make([]int64, len(items))}
	names := make([]string, len(items))
	for i, it := range items {
		names[i], im.Labels[i] = it.file, it.label
	}
	type job struct {
		i       int
		content []byte
	}
	jobs := make(chan job)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			k := kit{upright: r.upright}
			for j := range jobs {
				if err := r.decode(&k, im, j.i, j.content, names[j.i]); err != nil {
					cancel(err)
				}
				k.tidy()
			}
		})
	}
	seen := 0
	err := r.files.read(ctx, names, func(i int, f *file) (bool, error) {
		content, err := readAtMost(f, mostImageBytes)
		if err != nil {
			return false, err
		}
		seen++
		select {
		case jobs <- job{i, content}:
			return true, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	})
	close(jobs)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err == nil && seen < len(items) {
		err = exit.Errorf(contract.ExitData, "%s: lost %d of %d images while it was read", r.files.uri(""), len(items)-seen, len(items))
	}
	return *im, err
}

// decode puts image i where it belongs.
func (r *imageReader) decode(k *kit, im *Images, i int, content []byte, name string) error {
	err := k.decode(content, r.framing(), func(f frame) ([]byte, error) {
		if err := r.place(im, f.window, name); err != nil {
			return nil, err
		}
		size := im.H * im.W * im.C
		return im.Pixels[i*size : (i+1)*size], nil
	})
	if err != nil && !errors.Is(err, errTooMany) {
		return badData(r.files.uri(name), err)
	}
	return err
}

// place makes room for all images once the first size is known, and checks that of the others.
func (r *imageReader) place(im *Images, size rect, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == "" {
		r.first, r.h, r.w = name, size.h, size.w
	}
	if size.h != r.h || size.w != r.w {
		return fmt.Errorf("has %d×%d pixels, but %s has %d×%d: set spec.dataset.imageSize to bring all images to one size",
			size.w, size.h, r.files.uri(r.first), r.w, r.h)
	}
	if im.Pixels != nil {
		return nil
	}
	im.H, im.W = r.h, r.w
	if need := int64(r.count) * int64(3*r.h*r.w); need > mostResident() {
		return errTooMany
	}
	im.Pixels = make([]byte, im.N*im.H*im.W*im.C)
	return nil
}

// memory is the limit of this process, or else the size of the machine, in bytes; 0 if it is not known.
func memory() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	have := int64(info.Totalram) * int64(info.Unit)
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(file); err == nil {
			if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				have = min(have, limit)
			}
		}
	}
	return have
}
