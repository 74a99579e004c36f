// Package newjob makes a ResNetTrainingJob of a folder of images: `trainer init` and `kubectl resnet init`.
package newjob

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// Layouts says what a folder may hold, for the help of commands.
const Layouts = `DIR holds a folder for each class, with its photographs (flowers/roses/1.jpg), of which a part is put aside to test
with; or train/<class>/ and test/<class>/ (and val/<class>/); or the files of MNIST, FashionMNIST, CIFAR10 or
CIFAR100.`

// patience with a server that does not answer, while a person waits.
const patience = 10 * time.Second

// maxName is the length of the longest name of a job.
const maxName = 50

// Program is what asks and does: the plugin, or the trainer.
type Program struct {
	In          io.Reader
	Out, ErrOut io.Writer
	// Next is the command that the manifest is for: a format for its name.
	Next string
	// Local: data and results may lie in folders of this machine, and do unless a flag says otherwise.
	Local bool
	// Open opens the bucket at an s3:// URI; done gives back what that took.
	Open func(ctx context.Context, uri string, s3 *v1.S3Spec) (st store.Store, done func(), err error)
}

// options are the flags.
type options struct {
	name, data, storage, endpoint, region, secret, format, file string
	testFraction                                                float64
	epochs                                                      int
	gpu, noUpload, force                                        bool
}

// AddTo adds flags to cmd, and lets it run.
func (p Program) AddTo(cmd *cobra.Command) {
	var o options
	storage, data := "where results go: s3://bucket/prefix", "where the data goes: s3://bucket/prefix/name.tar (default data/<name>.tar below --storage)"
	if p.Local {
		storage += " or file:///folder (default the folder models here)"
		data = "upload the data: s3://bucket/prefix/name.tar (default it stays; what is not split is packed into <name>.tar)"
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "name of the job (default that of the folder)")
	flags.StringVar(&o.storage, "storage", "", storage)
	flags.StringVar(&o.data, "data", "", data)
	flags.StringVar(&o.endpoint, "endpoint", "", "the S3 server, such as http://minio.minio:9000 (default AWS)")
	flags.StringVar(&o.region, "region", "", "its region (default us-east-1)")
	flags.StringVar(&o.secret, "secret", "", "Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the pods")
	flags.StringVar(&o.format, "format", "", "data set, where the files do not tell: MNIST or FashionMNIST")
	flags.StringVarP(&o.file, "filename", "f", "", "file for the manifest (default <name>.yaml)")
	flags.Float64Var(&o.testFraction, "test-fraction", 0.2, "part of each class to test with, where the folder is not split")
	flags.IntVar(&o.epochs, "epochs", 20, "epochs of the recipe")
	flags.BoolVar(&o.gpu, "gpu", false, "train on a GPU")
	flags.BoolVar(&o.force, "force", false, "overwrite the manifest if it exists")
	if !p.Local {
		flags.BoolVar(&o.noUpload, "no-upload", false, "write <name>.tar beside the manifest in place of uploading it")
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return exit.Errorf(contract.ExitConfig, "want one folder with images: %s DIR", cmd.CommandPath())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args[0], o) }
}

// question asks for what a flag does not say. Where nobody can answer it is an error that names the flag.
func (p Program) question(value *string, flag, text, fallback string, needed bool) error {
	if *value != "" {
		return nil
	}
	if f, ok := p.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(p.ErrOut, "%s [%s]: ", text, fallback)
		line, err := bufio.NewReader(p.In).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		*value = strings.TrimSpace(line)
	}
	if *value = cmp.Or(*value, fallback); *value == "" && needed {
		return exit.Errorf(contract.ExitConfig, "%s? Say it by --%s", text, flag)
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

func (p Program) run(ctx context.Context, dir string, o options) error {
	if o.testFraction <= 0 || o.testFraction >= 1 {
		return exit.Errorf(contract.ExitConfig, "--test-fraction is %g: it must be more than 0 and less than 1", o.testFraction)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(dir) // a walk does not follow a link, not even that which it begins with
	if err != nil {
		return exit.Errorf(contract.ExitData, "%w", err)
	}
	found, err := look(target, o.format, o.testFraction)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.ErrOut, found)
	if err := p.complete(&o, found, filepath.Base(dir)); err != nil {
		return err
	}
	if _, err := os.Stat(o.file); err == nil && !o.force {
		return exit.Errorf(contract.ExitConfig, "%s exists: --force overwrites it, --filename names another", o.file)
	}
	text := found.manifest(o)
	if _, err := manifest.Parse([]byte(text)); err != nil {
		return exit.Errorf(contract.ExitConfig, "%w", err) // before anything is uploaded
	}
	if err := p.deliver(ctx, found, o); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.file), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(o.file, []byte(text), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(p.Out, "%s written; look at it, then: "+p.Next+"\n", o.file, o.file)
	return nil
}

// complete asks for what no flag says. named is the name of the folder.
func (p Program) complete(o *options, found *folder, named string) error {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(named), "-"), "-")
	if err := p.question(&o.name, "name", "Name of the job", name[:min(len(name), maxName)], true); err != nil {
		return err
	}
	o.file = cmp.Or(o.file, o.name+".yaml")
	beside, err := filepath.Abs(filepath.Dir(o.file))
	if err != nil {
		return err
	}
	storage, want := "", "s3://bucket/prefix"
	if p.Local {
		storage, want = "file://"+filepath.Join(beside, "models"), "s3://bucket/prefix or file:///folder"
	}
	if err := p.question(&o.storage, "storage", "Where shall results go ("+want+")", storage, true); err != nil {
		return err
	}
	if !p.Local || strings.HasPrefix(o.storage, "s3://") || o.data != "" {
		if err := p.question(&o.endpoint, "endpoint", "S3 server, such as http://minio.minio:9000; empty for AWS", "", false); err != nil {
			return err
		}
	}
	if !p.Local {
		if err := p.question(&o.secret, "secret", "Secret with the account for the pods; empty for the service account's", "", false); err != nil {
			return err
		}
	}
	switch {
	case o.data != "":
		if !isS3(o.data) {
			return exit.Errorf(contract.ExitConfig, "--data is %q: want s3://bucket/prefix", o.data)
		}
		if !strings.HasSuffix(o.data, ".tar") {
			return exit.Errorf(contract.ExitConfig, "--data is %q: it must end in the name of an archive, as flowers.tar", o.data)
		}
	case !p.Local:
		o.data = strings.TrimRight(o.storage, "/") + "/data/" + o.name + ".tar"
	case found.asItIs:
		o.data = "file://" + found.root
	default:
		o.data = "file://" + filepath.Join(beside, o.name+".tar")
	}
	if folder, ok := strings.CutPrefix(o.storage, "file:///"); !isS3(o.storage) && (!p.Local || !ok || folder == "") {
		return exit.Errorf(contract.ExitConfig, "--storage is %q: want %s", o.storage, want)
	}
	return nil
}

func isS3(uri string) bool {
	bucket, ok := strings.CutPrefix(uri, "s3://")
	return ok && bucket != ""
}

// deliver packs the files where that is needed, and uploads them.
func (p Program) deliver(ctx context.Context, found *folder, o options) error {
	local, isLocal := strings.CutPrefix(o.data, "file://")
	switch {
	case isLocal && found.asItIs:
		return nil
	case o.noUpload:
		local = filepath.Join(filepath.Dir(o.file), path.Base(o.data))
	case !isLocal:
		return p.upload(ctx, found, o)
	}
	f, err := os.Create(local)
	if err != nil {
		return err
	}
	if err := errors.Join(found.pack(ctx, f), f.Close()); err != nil {
		return err
	}
	if fmt.Fprintf(p.ErrOut, "%s written", local); o.noUpload {
		fmt.Fprintf(p.ErrOut, ": upload it to %s", o.data)
	}
	fmt.Fprintln(p.ErrOut)
	return nil
}

func (p Program) upload(ctx context.Context, found *folder, o options) error {
	ctx = store.WithPatience(telemetry.NewContext(ctx, slog.New(slog.DiscardHandler), nil), patience)
	folder, name := o.data[:strings.LastIndexByte(o.data, '/')+1], path.Base(o.data)
	st, done, err := p.Open(ctx, folder, o.s3())
	if err != nil {
		return err
	}
	defer done()
	f, err := os.CreateTemp("", "resnet-init-*.tar")
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
	_, err = st.Put(ctx, name, f, size)
	return err
}
