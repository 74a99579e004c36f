package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/export"
)

const predictHelp = `Label images with the trained model of a job: brings the model home, verifies it, and lets the program trainer of this
machine compute. This plugin is static and has no libtorch: the trainer comes from make build, or out of the trainer's
image.`

func newPredict(p *plugin) *cobra.Command {
	var trainer, output string
	var top int
	cmd := &cobra.Command{
		Use:   "predict JOB IMAGE...",
		Short: "Label images with the model of a job, by the trainer of this machine",
		Long:  predictHelp,
		Example: `  kubectl resnet predict flowers rose.jpg tulip.png
  kubectl resnet predict flowers --trainer bin/trainer --top 1 -o json photos/*.jpg`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("want a job and one or more images: kubectl resnet predict JOB IMAGE")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault // files
			}
			return p.completeJobs(cmd, args, "")
		},
	}
	cmd.Flags().StringVar(&trainer, "trainer", "trainer", "the program, by its path or as the PATH has it")
	cmd.Flags().IntVar(&top, "top", 3, "number of classes for each image")
	cmd.Flags().StringVarP(&output, "output", "o", "", "json (default text for people)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if output != "" && output != "json" {
			return fmt.Errorf("--output is %q: want json", output)
		}
		for _, image := range args[1:] {
			if _, err := os.Stat(image); err != nil {
				return err
			}
		}
		program, err := exec.LookPath(trainer)
		if err != nil {
			return fmt.Errorf("no program %q: labelling takes the trainer, which make build makes; name it by --trainer, or put it into the PATH", trainer)
		}
		flags := []string{"--top", fmt.Sprint(top)}
		if output != "" {
			flags = append(flags, "--output", output)
		}
		return p.withResults(cmd.Context(), args[0], func(r *results) error {
			return p.predict(cmd.Context(), r, program, flags, args[1:])
		})
	}
	return cmd
}

func (p *plugin) predict(ctx context.Context, r *results, program string, flags, images []string) error {
	card, _, err := r.card(ctx)
	if err != nil {
		return err
	}
	file, ok := card.Files[export.SafetensorsFile]
	if !ok {
		return fmt.Errorf("%s has no %s", r.URI(contract.ModelPrefix+"/"), export.SafetensorsFile)
	}
	dir, err := os.MkdirTemp("", "kubectl-resnet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	model, manifest := filepath.Join(dir, export.SafetensorsFile), filepath.Join(dir, "job.yaml")
	if err := r.download(ctx, contract.ModelKey, model, &file); err != nil {
		return err
	}
	// The model file says what it takes; of the job the trainer needs the network.
	text, err := yaml.Marshal(&v1.ResNetTrainingJob{TypeMeta: metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: v1.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: r.job.Name},
		Spec: v1.ResNetTrainingJobSpec{Model: r.job.Spec.Model, Dataset: r.job.Spec.Dataset, Storage: v1.StorageSpec{URI: "file://" + filepath.ToSlash(dir)},
			Training: v1.TrainingSpec{Precision: v1.PrecisionFP32}}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(manifest, text, 0o600); err != nil {
		return err
	}
	args := append([]string{"predict", "--file", manifest, "--weights", model}, flags...)
	cmd := exec.CommandContext(ctx, program, append(append(args, "--"), images...)...)
	cmd.Stdout, cmd.Stderr = p.Out, p.ErrOut
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		return errSaid // by the trainer
	} else if err != nil {
		return fmt.Errorf("%s: %w", strings.TrimSpace(program), err)
	}
	return nil
}
