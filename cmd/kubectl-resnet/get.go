package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

const getModelHelp = `Bring the trained model of a job home: the files that spec.export names, with the model card. Each file has the size and
the SHA-256 that the card says, or it is an error and the file is not kept.`

func newGetModel(p *plugin) *cobra.Command {
	var dir string
	var formats []string
	cmd := &cobra.Command{
		Use:   "get-model JOB",
		Short: "Bring the trained model home, and verify it",
		Long:  getModelHelp,
		Example: `  kubectl resnet get-model flowers
  kubectl resnet get-model flowers --format onnx -d models/`,
	}
	p.oneJob(cmd)
	cmd.Flags().StringVarP(&dir, "directory", "d", "", "folder for the files (default the name of the job)")
	cmd.Flags().StringSliceVar(&formats, "format", nil, "only these: "+strings.Join(formatNames(), ", "))
	if err := cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formatNames(), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, format := range formats {
			if modelFiles[format] == "" {
				return fmt.Errorf("--format is %q: want one of %s", format, strings.Join(formatNames(), ", "))
			}
		}
		return p.withResults(cmd.Context(), args[0], func(r *results) error {
			if dir == "" {
				dir = r.job.Name
			}
			return p.getModel(cmd.Context(), r, dir, formats)
		})
	}
	return cmd
}

// modelFiles by the name of their format.
var modelFiles = map[string]string{"safetensors": export.SafetensorsFile, "pytorch": export.PTFile, "onnx": export.ONNXFile,
	"onnx-int8": export.ONNXInt8File}

func formatNames() []string { return slices.Sorted(maps.Keys(modelFiles)) }

// withResults does something with the folder of a job.
func (p *plugin) withResults(ctx context.Context, name string, do func(r *results) error) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	job, err := c.job(ctx, name)
	if err != nil {
		return err
	}
	r, err := c.results(ctx, job)
	if err != nil {
		return err
	}
	defer r.Close()
	return do(r)
}

// card of the model.
func (r *results) card(ctx context.Context) (*export.Card, []byte, error) {
	data, err := r.read(ctx, contract.ModelPrefix+"/"+export.CardFile)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, r.notYet("model")
	}
	if err != nil {
		return nil, nil, err
	}
	card, err := export.DecodeCard(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.URI(contract.ModelPrefix+"/"), err)
	}
	return card, data, nil
}

// notYet says why there is no model, or no report.
func (r *results) notYet(what string) error {
	job := r.job
	switch {
	case job.Status.State == v1.StateSucceeded:
		return fmt.Errorf("%s has no %s, though the job has Succeeded: somebody has removed what was there", r.URI(""), what)
	case ended(job) && what == "model":
		return fmt.Errorf("%s has no model: it has %s (%s); trainer export makes one of a checkpoint", job.Name, stateOf(job), message(job))
	case ended(job):
		return fmt.Errorf("%s has no %s: it has %s (%s)", job.Name, what, stateOf(job), message(job))
	}
	epoch := ""
	if d := job.Status.Display; d != nil && d.Epoch != "" {
		epoch = ", epoch " + d.Epoch
	}
	return fmt.Errorf("%s has no %s yet: it is %s%s; kubectl resnet watch %[1]s waits for its end", job.Name, what, stateOf(job), epoch)
}

func (p *plugin) getModel(ctx context.Context, r *results, dir string, formats []string) error {
	card, encoded, err := r.card(ctx)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(card.Files))
	if len(formats) > 0 {
		names = nil
		for _, format := range formats {
			name := modelFiles[format]
			if _, ok := card.Files[name]; !ok {
				return fmt.Errorf("%s was not exported as %s: it has %s; trainer export makes other formats", r.job.Name, format,
					strings.Join(slices.Sorted(maps.Keys(card.Files)), ", "))
			}
			names = append(names, name)
		}
	}
	for _, name := range names {
		if !plainName(name) {
			return fmt.Errorf("%s names the file %q, which is no name of a model's file: somebody has written there", export.CardFile, name)
		}
		if err := r.download(ctx, contract.ModelPrefix+"/"+name, filepath.Join(dir, name), new(card.Files[name])); err != nil {
			return err
		}
		fmt.Fprintf(p.Out, "%s  %s  verified\n", filepath.Join(dir, name), humanize.IBytes(uint64(card.Files[name].Bytes)))
	}
	path := filepath.Join(dir, export.CardFile)
	if err := writeFile(path, encoded); err != nil {
		return err
	}
	fmt.Fprintln(p.Out, path)
	return nil
}

// plainName reports whether a name leads into no other folder.
func plainName(name string) bool {
	return name != "" && name == filepath.Base(name) && !strings.ContainsAny(name, `/\:`) && !strings.HasPrefix(name, ".") &&
		!strings.ContainsFunc(name, contract.Unprintable)
}

// download writes an object into a file that is there whole or not at all. With want, it is verified.
func (r *results) download(ctx context.Context, key, path string, want *export.File) error {
	body, info, err := r.Get(quiet(ctx), key)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s is missing, which the job has written: somebody has removed it", r.URI(key))
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), body)
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case err != nil:
		return fmt.Errorf("%s: %w", r.URI(key), err)
	case want != nil && (n != want.Bytes || got != want.SHA256):
		return fmt.Errorf("%s is damaged: it has %d bytes with SHA-256 %s, and %s says %d with %s", r.URI(key), n, got, export.CardFile,
			want.Bytes, want.SHA256)
	case want == nil && info.Size >= 0 && n != info.Size:
		return fmt.Errorf("%s was cut off after %d of %d bytes: try again", r.URI(key), n, info.Size)
	}
	return place(f, path)
}

// place a finished file, with the rights that the user's other files have.
func place(f *os.File, path string) error {
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

const reportHelp = `Bring the report of a job home: a page to open in a browser, report.json for programs, and the pictures. A job that still
runs has a report after every epoch. The page and report.json must tell of this very job, or it is an error.`

func newReport(p *plugin) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "report JOB",
		Short:   "Bring the report home",
		Long:    reportHelp,
		Example: "  kubectl resnet report flowers\n  kubectl resnet report flowers -d reports/flowers",
	}
	p.oneJob(cmd)
	cmd.Flags().StringVarP(&dir, "directory", "d", "", "folder for the files (default the name of the job, with -report)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.withResults(cmd.Context(), args[0], func(r *results) error {
			if dir == "" {
				dir = r.job.Name + "-report"
			}
			return p.getReport(cmd.Context(), r, dir)
		})
	}
	return cmd
}

func (p *plugin) getReport(ctx context.Context, r *results, dir string) error {
	data, err := r.read(ctx, contract.ReportJSONKey)
	if errors.Is(err, store.ErrNotFound) {
		return r.notYet("report")
	}
	if err != nil {
		return err
	}
	var report struct {
		Job struct {
			UID string `json:"uid"`
		} `json:"job"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return fmt.Errorf("%s is damaged: %w", r.URI(contract.ReportJSONKey), err)
	}
	if report.Job.UID != string(r.job.UID) {
		return fmt.Errorf("%s is of another job (uid %s): somebody has written there", r.URI(contract.ReportJSONKey), contract.Line(report.Job.UID))
	}
	infos, err := r.List(quiet(ctx), contract.ReportPrefix+"/")
	if err != nil {
		return err
	}
	total := int64(0)
	for _, info := range infos {
		name := strings.TrimPrefix(info.Key, contract.ReportPrefix+"/")
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `\:`) || strings.ContainsFunc(name, contract.Unprintable) {
			continue // not of the trainer
		}
		if err := r.download(ctx, info.Key, filepath.Join(dir, filepath.FromSlash(name)), nil); err != nil {
			return err
		}
		total += info.Size
	}
	page := filepath.Join(dir, filepath.Base(contract.ReportKey))
	if _, err := os.Stat(page); err != nil {
		return fmt.Errorf("%s is missing: somebody has removed it", r.URI(contract.ReportKey))
	}
	fmt.Fprintf(p.ErrOut, "%d files, %s; open in a browser:\n", len(infos), humanize.IBytes(uint64(total)))
	fmt.Fprintln(p.Out, page)
	return nil
}
