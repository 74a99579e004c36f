package data

import (
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// CIFAR-10 and CIFAR-100 are "Learning Multiple Layers of Features from Tiny Images" (Krizhevsky, 2009). Mean and
// deviation are those over all pixels of the 50,000 training images.

var cifar10 = format{
	size:    cifarSize,
	classes: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
	mean:    []float32{0.4914, 0.4822, 0.4465},
	std:     []float32{0.2470, 0.2435, 0.2616},
	known:   cifar10Files.known(),
	read:    cifar10Files.read,
}

var cifar100 = format{
	size: cifarSize,
	classes: strings.Fields(`apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
		butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
		dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
		lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
		pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
		shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
		television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm`),
	mean:  []float32{0.5071, 0.4865, 0.4409},
	std:   []float32{0.2673, 0.2564, 0.2762},
	known: cifar100Files.known(),
	read:  cifar100Files.read,
}

const (
	cifarSize  = 32
	cifarPlane = cifarSize * cifarSize
	cifarImage = 3 * cifarPlane
	// mostRecords of one file are believed; the real ones have at most 50,000.
	mostRecords = 200_000
)

// cifarFiles says what the files of a CIFAR are called and how labels stand in them.
type cifarFiles struct {
	train, test []string // base names of the Python version; the binary one's end in .bin
	archives    []string
	labelBytes  int    // of a binary record; the last one counts
	pickleKey   string // of the labels in a pickle
	column      string // of the labels in a parquet file
	folders     []string
}

var cifar10Files = &cifarFiles{
	train:      []string{"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"},
	test:       []string{"test_batch"},
	folders:    []string{"cifar-10-batches-bin/", "cifar-10-batches-py/", "plain_text/"},
	archives:   []string{"cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"},
	labelBytes: 1, pickleKey: "labels", column: "label",
}

var cifar100Files = &cifarFiles{
	train:      []string{"train"},
	test:       []string{"test"},
	folders:    []string{"cifar-100-binary/", "cifar-100-python/", "cifar100/"},
	archives:   []string{"cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"},
	labelBytes: 2, pickleKey: "fine_labels", column: "fine_label",
}

// known is where to look on a web server.
func (c *cifarFiles) known() [][]string {
	all := slices.Concat(c.train, c.test)
	groups := [][]string{{c.archives[0]}, {c.archives[1]}}
	for _, folder := range []string{"", c.folders[0]} {
		groups = append(groups, withPrefix(folder, withSuffix(all, ".bin")))
	}
	for _, folder := range []string{"", c.folders[1]} {
		groups = append(groups, withPrefix(folder, all))
	}
	for _, folder := range []string{"", c.folders[2], "data/"} {
		groups = append(groups, withPrefix(folder, []string{"train-00000-of-00001.parquet", "test-00000-of-00001.parquet"}))
	}
	return groups
}

func withPrefix(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = prefix + n
	}
	return all
}

// needs says, for an error, what is looked for.
func (c *cifarFiles) needs() string {
	from := func(suffix string) string {
		all := withSuffix(slices.Concat(c.train, c.test), suffix)
		return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
	}
	return fmt.Sprintf("%s (binary version), or %s (Python version), or %s, or train*.parquet and test*.parquet (Hugging Face)",
		from(".bin"), from(""), strings.Join(c.archives, " or "))
}

// cifarDecoder reads the images of one file: planes (CHW) and labels.
type cifarDecoder func(f *file, classes, limit int) (records, error)

// records are images as they lie in the files: red, green and blue planes of 32×32 bytes.
type records struct {
	planes []byte
	labels []int64
}

func (c *cifarFiles) read(ctx context.Context, s *source, fs files, d *Dataset, most limits) error {
	train, test, decode := c.detect(fs.names())
	if decode == nil {
		archive, ok := find(fs.names(), c.archives...)
		if !ok {
			return s.nothingFits(fs, c.needs())
		}
		var err error
		if fs, err = s.openArchive(ctx, archive); err != nil {
			return err
		}
		if train, test, decode = c.detect(fs.names()); decode == nil {
			return s.nothingFits(fs, c.needs())
		}
	}
	for _, part := range []struct {
		names []string
		limit int
		im    *Images
	}{{train, most.train, &d.Train}, {test, most.test, &d.Test}} {
		im, err := readImages(ctx, fs, part.names, decode, len(d.Classes), part.limit)
		if err != nil {
			return err
		}
		*part.im = im
	}
	return nil
}

var parquetName = regexp.MustCompile(`(^|[-_.])(train|test)([-_.].*)?\.parquet$`)

// detect finds out which version the files are; decode is nil if they are none.
func (c *cifarFiles) detect(names []string) (train, test []string, decode cifarDecoder) {
	if first, ok := find(names, c.train[0]+".bin"); ok {
		return beside(first, withSuffix(c.train, ".bin")), beside(first, withSuffix(c.test, ".bin")), c.decodeBinary
	}
	if first, ok := find(names, c.train[0]); ok {
		return beside(first, c.train), beside(first, c.test), c.decodePickle
	}
	for _, name := range names {
		switch m := parquetName.FindStringSubmatch(path.Base(name)); {
		case m == nil:
		case m[2] == "train":
			train = append(train, name)
		default:
			test = append(test, name)
		}
	}
	if len(train) > 0 && len(test) > 0 {
		slices.Sort(train)
		slices.Sort(test)
		return train, test, c.decodeParquet
	}
	return nil, nil, nil
}

// readImages reads files in turn until there are limit images.
func readImages(ctx context.Context, fs files, names []string, decode cifarDecoder, classes, limit int) (all Images, err error) {
	parts := make([]*Images, len(names))
	n := 0
	err = fs.read(ctx, names, func(i int, f *file) (bool, error) {
		r, err := decode(f, classes, limit)
		if err == nil {
			im := r.images()
			parts[i] = &im
			n += im.N
		}
		return n < limit, err
	})
	if err != nil {
		return all, err
	}
	all = Images{N: 0, H: cifarSize, W: cifarSize, C: 3, Pixels: make([]byte, 0, min(n, limit)*cifarImage)}
	for i, p := range parts {
		if all.N >= limit {
			break
		}
		if p == nil {
			return all, exit.Errorf(contract.ExitData, "%s is missing", fs.uri(names[i]))
		}
		take := min(limit-all.N, p.N)
		all.Pixels, all.Labels = append(all.Pixels, p.Pixels[:take*cifarImage]...), append(all.Labels, p.Labels[:take]...)
		all.N += take
		parts[i] = nil
	}
	return all, nil
}

// decodeBinary reads records of one or two labels and the planes.
func (c *cifarFiles) decodeBinary(f *file, classes, limit int) (r records, err error) {
	size := c.labelBytes + cifarImage
	b, err := readAtMost(f, int64(size)*mostRecords)
	switch {
	case err != nil:
		return r, err
	case len(b) == 0:
		return r, fmt.Errorf("is empty")
	case len(b)%size != 0:
		return r, fmt.Errorf("has %d bytes: the file is cut off, or not made of records of %d bytes", len(b), size)
	}
	n := min(len(b)/size, limit)
	r = records{make([]byte, 0, n*cifarImage), make([]int64, 0, n)}
	for i := range n {
		record := b[i*size : (i+1)*size]
		label := int64(record[c.labelBytes-1])
		if err := checkLabel(label, i, classes); err != nil {
			return r, err
		}
		r.planes, r.labels = append(r.planes, record[c.labelBytes:]...), append(r.labels, label)
	}
	return r, nil
}

// decodePickle reads the dictionary that cPickle wrote.
func (c *cifarFiles) decodePickle(f *file, classes, limit int) (r records, err error) {
	b, err := readAtMost(f, mostRecords*(cifarImage+64))
	if err != nil {
		return r, err
	}
	planes, labels, err := cifarPickle(b, c.pickleKey)
	if err != nil {
		return r, err
	}
	if len(planes) != len(labels)*cifarImage {
		return r, fmt.Errorf("holds %d labels, but %d bytes of images of %d", len(labels), len(planes), cifarImage)
	}
	n := min(limit, len(labels))
	for i, label := range labels[:n] {
		if err := checkLabel(label, i, classes); err != nil {
			return r, err
		}
	}
	return records{planes[:n*cifarImage], labels[:n]}, nil
}

// readAtMost reads all of r, and fails if that is more than most bytes.
func readAtMost(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("is larger than %d bytes: that is no such file", most)
	}
	return b, err
}

// images turns planes into pixels (CHW to HWC).
func (r records) images() Images {
	n := len(r.labels)
	im := Images{n, cifarSize, cifarSize, 3, make([]byte, n*cifarImage), r.labels, nil}
	for i := range n {
		planes, out := r.planes[i*cifarImage:(i+1)*cifarImage], im.Pixels[i*cifarImage:(i+1)*cifarImage]
		for p := range cifarPlane {
			out[3*p], out[3*p+1], out[3*p+2] = planes[p], planes[cifarPlane+p], planes[2*cifarPlane+p]
		}
	}
	return im
}
