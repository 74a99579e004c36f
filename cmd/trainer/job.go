package main

import (
	"cmp"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
)

// jobFlags are those of every command that works on a job.
type jobFlags struct {
	file, cacheDir string
	set            []string
}

func (f *jobFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "file", "f", "", `file with a ResNetTrainingJob, YAML or JSON; "-" is standard input`)
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "change a field of the job, as training.epochs=3; may be repeated")
	cmd.Flags().StringVar(&f.cacheDir, "cache-dir", "", "folder that keeps data sets read from a bucket")
	cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	cmd.MarkFlagDirname("cache-dir")
}

// load reads the job and validates it.
func (f *jobFlags) load() (*v1.ResNetTrainingJob, error) {
	if f.file == "" {
		return nil, exit.Errorf(contract.ExitConfig, "--file is required: a ResNetTrainingJob as YAML or JSON")
	}
	job, err := manifest.Load(f.file, f.set...)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "%w", err)
	}
	if err := recipe.CheckNetwork(&job.Spec); err != nil {
		return nil, err
	}
	job.Namespace, job.UID = cmp.Or(job.Namespace, "default"), cmp.Or(job.UID, "local")
	return job, nil
}

// weightsFlag says which trained weights a command uses.
type weightsFlag struct{ value string }

// add adds the flag; what it is without a value is told by byDefault.
func (f *weightsFlag) add(cmd *cobra.Command, byDefault string) {
	cmd.Flags().StringVar(&f.value, "weights", "", "best, latest or the name of a checkpoint of the job; the folder or URI of another checkpoint or job; or a file with weights (default "+byDefault+")")
	cmd.RegisterFlagCompletionFunc("weights", cobra.FixedCompletions([]string{"best", "latest"}, cobra.ShellCompDirectiveDefault))
}

// weights understands the flag. What a file holds is found out by reading it, whatever its name is.
func (f *weightsFlag) weights() (trainer.Weights, error) {
	v := f.value
	if strings.Contains(v, "://") {
		return trainer.Weights{URI: v}, nil
	}
	info, err := os.Stat(v)
	named := v == checkpoint.Best || v == checkpoint.Latest
	if named || err != nil && !strings.ContainsRune(v, filepath.Separator) && filepath.Ext(v) == "" {
		return trainer.Weights{Checkpoint: v}, nil
	}
	if err != nil {
		return trainer.Weights{}, exit.Errorf(contract.ExitConfig, "--weights: %w", err)
	}
	if !info.IsDir() {
		return trainer.Weights{ModelFile: v}, nil
	}
	absolute, err := filepath.Abs(v)
	return trainer.Weights{URI: "file://" + absolute}, err
}

// outputFlag chooses between words for people and JSON for programs.
type outputFlag struct{ value string }

func (f *outputFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.value, "output", "o", "table", "table or json")
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *outputFlag) check() error {
	if f.value != "table" && f.value != "json" {
		return exit.Errorf(contract.ExitConfig, "--output is %q: use table or json", f.value)
	}
	return nil
}

// write writes value as JSON, or calls table.
func (f *outputFlag) write(w io.Writer, value any, table func(w io.Writer) error) error {
	if f.value == "table" {
		return table(w)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}
