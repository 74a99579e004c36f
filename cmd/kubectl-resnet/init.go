package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const initHelp = `Make a job of a folder of images: look at them, split them if they are not, pack them into one archive, upload it,
choose the stem and size, and write a commented manifest.

DIR holds a folder for each class, with its photographs (flowers/roses/1.jpg), of which a part is put aside to test
with; or train/<class>/ and test/<class>/ (and val/<class>/); or the files of MNIST, FashionMNIST, CIFAR10 or
CIFAR100.

What is not given by a flag is asked on a terminal. The upload uses the account and the way of all other commands.`

// initOptions are the flags.
type initOptions struct {
	name, data, storage, endpoint, region, secret, format, file string
	testFraction                                                float64
	epochs                                                      int
	gpu, noUpload, force                                        bool
}

func newInit(p *plugin) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a job of a folder of images",
		Long:  initHelp,
		Example: `  kubectl resnet init photos/flowers
  kubectl resnet init photos/flowers --storage s3://models --data s3://datasets/flowers.tar \
    --endpoint http://minio.minio:9000 --secret s3-credentials`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("want one folder with images: kubectl resnet init DIR")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "name of the job (default that of the folder)")
	flags.StringVar(&o.storage, "storage", "", "where results go: s3://bucket/prefix")
	flags.StringVar(&o.data, "data", "", "where the data goes: s3://bucket/prefix/name.tar (default data/<name>.tar below --storage)")
	flags.StringVar(&o.endpoint, "endpoint", "", "the S3 server, such as http://minio.minio:9000 (default AWS)")
	flags.StringVar(&o.region, "region", "", "its region (default us-east-1)")
	flags.StringVar(&o.secret, "secret", "", "Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the pods")
	flags.StringVar(&o.format, "format", "", "data set, where the files do not tell: MNIST or FashionMNIST")
	flags.StringVarP(&o.file, "filename", "f", "", "file for the manifest (default <name>.yaml)")
	flags.Float64Var(&o.testFraction, "test-fraction", 0.2, "part of each class to test with, where the folder is not split")
	flags.IntVar(&o.epochs, "epochs", 20, "epochs of the recipe")
	flags.BoolVar(&o.gpu, "gpu", false, "train on a GPU")
	flags.BoolVar(&o.noUpload, "no-upload", false, "write <name>.tar beside the manifest in place of uploading it")
	flags.BoolVar(&o.force, "force", false, "overwrite the manifest if it exists")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return p.init(cmd.Context(), args[0], o) }
	return cmd
}

// question asks for what a flag does not say. Where nobody can answer it is an error that names the flag.
func (p *plugin) question(value *string, flag, text, fallback string, needed bool) error {
	if *value != "" {
		return nil
	}
	if f, ok := p.In.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		if *value = fallback; *value == "" && needed {
			return fmt.Errorf("%s? Say it by --%s", text, flag)
		}
		return nil
	}
	fmt.Fprintf(p.ErrOut, "%s [%s]: ", text, fallback)
	line, err := bufio.NewReader(p.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if *value = strings.TrimSpace(line); *value == "" {
		*value = fallback
	}
	if *value == "" && needed {
		return fmt.Errorf("%s? Say it by --%s", text, flag)
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

func (p *plugin) init(ctx context.Context, dir string, o initOptions) error {
	if o.testFraction <= 0 || o.testFraction >= 1 {
		return fmt.Errorf("--test-fraction is %g: it must be more than 0 and less than 1", o.testFraction)
	}
	found, err := lookAt(dir, o.format, o.testFraction)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.ErrOut, found)
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	suggested := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(filepath.Base(absolute)), "-"), "-")
	for _, q := range []struct {
		value                *string
		flag, text, fallback string
		needed               bool
	}{
		{&o.name, "name", "Name of the job", suggested[:min(len(suggested), maxName)], true},
		{&o.storage, "storage", "Where shall results go (s3://bucket/prefix)", "", true},
		{&o.endpoint, "endpoint", "S3 server, such as http://minio.minio:9000; empty for AWS", "", false},
		{&o.secret, "secret", "Secret with the account for the pods; empty for the service account's", "", false},
	} {
		if err := p.question(q.value, q.flag, q.text, q.fallback, q.needed); err != nil {
			return err
		}
	}
	if o.data == "" {
		o.data = strings.TrimRight(o.storage, "/") + "/data/" + o.name + ".tar"
	}
	if o.file == "" {
		o.file = o.name + ".yaml"
	}
	for _, f := range [][2]string{{"storage", o.storage}, {"data", o.data}} {
		if bucket, ok := strings.CutPrefix(f[1], "s3://"); !ok || bucket == "" {
			return fmt.Errorf("--%s is %q: want s3://bucket/prefix", f[0], f[1])
		}
	}
	if _, err := os.Stat(o.file); err == nil && !o.force {
		return fmt.Errorf("%s exists: --force overwrites it, --filename names another", o.file)
	}
	text := found.manifest(o)
	if _, err := manifest.Parse([]byte(text)); err != nil {
		return err // before anything is uploaded
	}
	if err := p.deliver(ctx, found, o); err != nil {
		return err
	}
	if err := writeFile(o.file, []byte(text)); err != nil {
		return err
	}
	fmt.Fprintf(p.Out, "%s written; look at it, then: kubectl resnet create -f %[1]s --watch\n", o.file)
	return nil
}

// deliver packs the files, and uploads them.
func (p *plugin) deliver(ctx context.Context, found *dataset, o initOptions) error {
	folder, name := o.data[:strings.LastIndexByte(o.data, '/')+1], o.data[strings.LastIndexByte(o.data, '/')+1:]
	if !strings.HasSuffix(name, ".tar") {
		return fmt.Errorf("--data is %q: it must end in the name of an archive, as flowers.tar", o.data)
	}
	if o.noUpload {
		f, err := os.Create(filepath.Join(filepath.Dir(o.file), name))
		if err != nil {
			return err
		}
		err = errors.Join(found.pack(ctx, f), f.Close())
		if err == nil {
			fmt.Fprintf(p.ErrOut, "%s written: upload it to %s\n", f.Name(), o.data)
		}
		return err
	}
	c, err := p.connect()
	if err != nil {
		return err
	}
	st, closeWay, err := c.openStorage(ctx, c.namespace, folder, o.s3())
	if err != nil {
		return err
	}
	defer closeWay()
	f, err := os.CreateTemp("", "kubectl-resnet-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := found.pack(ctx, f); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.ErrOut, "uploading %s to %s\n", humanize.IBytes(uint64(size)), o.data)
	_, err = st.Put(quiet(ctx), name, f, size)
	return err
}

func (o *initOptions) s3() *v1.S3Spec {
	s := &v1.S3Spec{Endpoint: o.endpoint, Region: o.region}
	if o.secret != "" {
		s.CredentialsSecret = &corev1.LocalObjectReference{Name: o.secret}
	}
	return s
}

// manifest is the job, with what one may want to change.
func (d *dataset) manifest(o initOptions) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s", d)
	line("apiVersion: %s\nkind: %s\nmetadata:\n  name: %q\nspec:", v1.GroupVersion, v1.Kind, o.name)
	line("  dataset:\n    format: %s\n    uri: %q", d.format, o.data)
	if d.imageSize > 0 {
		line("    imageSize: %d  # shorter side, then the centre; their median is %d pixels", d.imageSize, d.median)
	}
	line("    # validationFraction: 0.1  # held out to choose the best checkpoint by, and to stop early")
	line("  model:\n    architecture: ResNet18  # or ResNet34, ResNet50, …: slower, better with much data")
	line("    stem: %s  # CIFAR for images up to 64 pixels, else ImageNet", d.stem())
	line("  training:\n    epochs: %d", o.epochs)
	if d.train > 0 && d.train < 1000 {
		line("    batchSize: %d  # few images: small batches make more steps", max(8, min(32, d.train/4)))
	}
	line("  # resumeFrom: {uri: \"s3://…/model.safetensors\", weightsOnly: true}  # few images: begin with a trained network")
	line("  storage:\n    uri: %q  # results: <uri>/<namespace>/<name>/<uid>/", o.storage)
	if o.endpoint != "" || o.region != "" || o.secret != "" {
		line("    s3:")
		for _, f := range [][2]string{{"endpoint", o.endpoint}, {"region", o.region}} {
			if f[1] != "" {
				line("      %s: %q", f[0], f[1])
			}
		}
		if o.secret != "" {
			line("      credentialsSecret: {name: %q}", o.secret)
		}
	}
	line("  resources:\n    cpu: \"2\"\n    memory: 4Gi  # all images are held in memory")
	if o.gpu {
		line("    gpus: 1")
	}
	return b.String()
}
