package data

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// imageReader decodes images on all processors.
type imageReader struct {
	files files
	size  int // of the result; 0: as they are

	mu    sync.Mutex
	first string // the image whose size all others must have
	h, w  int
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
			for j := range jobs {
				if err := r.decode(im, j.i, j.content, names[j.i]); err != nil {
					cancel(err)
				}
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
func (r *imageReader) decode(im *Images, i int, content []byte, name string) error {
	img, err := decodeImage(content)
	if err != nil {
		return badData(r.files.uri(name), err)
	}
	if r.size > 0 {
		if max(img.h, img.w)/min(img.h, img.w) > 100 {
			return exit.Errorf(contract.ExitData, "%s: has %d×%d pixels: that cannot be resized to a square", r.files.uri(name), img.w, img.h)
		}
		img = resizeCrop(img, r.size, r.size)
	}
	if err := r.place(im, img, name); err != nil {
		return err
	}
	size := im.H * im.W * im.C
	copy(im.Pixels[i*size:(i+1)*size], img.rgb)
	return nil
}

// place makes room for all images once the first size is known, and checks that of the others.
func (r *imageReader) place(im *Images, img raster, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == "" {
		r.first, r.h, r.w = name, img.h, img.w
	}
	if img.h != r.h || img.w != r.w {
		return exit.Errorf(contract.ExitData, "%s has %d×%d pixels, but %s has %d×%d: set spec.dataset.imageSize to bring all images to one size",
			r.files.uri(name), img.w, img.h, r.files.uri(r.first), r.w, r.h)
	}
	if im.Pixels != nil {
		return nil
	}
	im.H, im.W = r.h, r.w
	need := int64(im.N) * int64(len(img.rgb))
	if have := memory(); have > 0 && need > have {
		return exit.Errorf(contract.ExitConfig,
			"%d images of %d×%d pixels need %d MiB of memory, but there are %d: set spec.dataset.imageSize or maxTrainImages lower, or spec.resources.memory higher",
			im.N, im.W, im.H, need>>20, have>>20)
	}
	im.Pixels = make([]byte, need)
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
