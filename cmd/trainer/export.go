package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

const exportHelp = `Write the trained model of a ResNetTrainingJob in the formats that other programs open.

  safetensors  model.safetensors: the weights, for PyTorch and everything else that reads safetensors
  pt           model.pt: the same weights for torch.load(…, weights_only=True); the names are those of
               torchvision.models.resnet18 and its relatives
  onnx         model.onnx: the graph for inference, opset 13, for ONNX Runtime, OpenCV, TensorRT, … Its input "input"
               is float32 batch×channels×height×width, with any batch: (pixel/255 - mean) / std. With
               --include-normalization it is pixel/255, and the graph normalises. Its output "logits" is batch×classes.
  onnx-int8    model.int8.onnx: the same graph in 8 bits, a quarter of the size. The ranges of its activations are
               measured on training images, so this reads the data set. What stays in float, and why, is told on
               standard error and in model.json.

model.json is written beside them: the constants mean and std, the names of the classes, the recipe, the accuracy.

A training job writes the same files at its end, as spec.export says, below model/ in its folder. This command makes them
anew: from any checkpoint of the job, also while it runs, or from a file with weights. For a job of a cluster:

  kubectl get resnetjob NAME -o json | trainer export -f - --out NAME

Credentials for s3:// come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or from the service
account.`

type exportFlags struct {
	job                  jobFlags
	weights              weightsFlag
	out                  string
	formats              []string
	includeNormalization bool
	calibrationBatches   int32
	reduceRange          bool
}

func exportCommand() *cobra.Command {
	var flags exportFlags
	cmd := &cobra.Command{
		Use:   "export -f job.yaml",
		Short: "Write a trained model as safetensors, PyTorch or ONNX file",
		Long:  exportHelp,
		Example: `  trainer export -f job.yaml --out model
  trainer export -f job.yaml --weights best --format onnx --include-normalization
  trainer export -f job.yaml --format onnx,onnx-int8
  trainer export -f job.yaml --weights s3://bucket/default/resnet/0123/checkpoints/00020-00007800-a1
  trainer export -f job.yaml --weights resnet18.pt --format onnx`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(cmd.Context(), cmd.OutOrStdout(), cmd.Flags().Changed)
		},
	}
	f := cmd.Flags()
	flags.job.add(cmd)
	flags.weights.add(cmd, "as spec.export.weights says")
	f.StringSliceVar(&flags.formats, "format", nil, "safetensors, pt, onnx, onnx-int8; several with commas (default as spec.export.formats says)")
	f.StringVar(&flags.out, "out", ".", "folder for the files; it is made if need be")
	f.BoolVar(&flags.includeNormalization, "include-normalization", false, "normalise the input in the ONNX graph (default as spec.export.includeNormalization says)")
	f.Int32Var(&flags.calibrationBatches, "calibration-batches", 0, "batches of training images for onnx-int8 (default as spec.export.calibrationBatches says)")
	f.BoolVar(&flags.reduceRange, "reduce-range", false, "weights of onnx-int8 in [-63, 63], for AVX2 without VNNI (default as spec.export.reduceRange says)")
	return cmd
}

func (flags *exportFlags) run(ctx context.Context, out io.Writer, changed func(flag string) bool) error {
	weights, err := flags.weights.weights()
	if err != nil {
		return err
	}
	job, err := flags.job.load()
	if err != nil {
		return err
	}
	options := trainer.ExportOptions{Weights: weights, Spec: job.Spec.Export, CacheDir: flags.job.cacheDir}
	if flags.formats != nil {
		if options.Spec.Formats, err = exportFormats(flags.formats); err != nil {
			return err
		}
	}
	if changed("include-normalization") {
		options.Spec.IncludeNormalization = flags.includeNormalization
	}
	if changed("calibration-batches") {
		if flags.calibrationBatches < 1 {
			return exit.Errorf(contract.ExitConfig, "--calibration-batches is %d: it must be 1 or more", flags.calibrationBatches)
		}
		options.Spec.CalibrationBatches = flags.calibrationBatches
	}
	if changed("reduce-range") {
		options.Spec.ReduceRange = flags.reduceRange
	}
	options.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	return trainer.Export(ctx, job, options, func(name string, content []byte) error {
		path := filepath.Join(flags.out, name)
		if err := os.MkdirAll(flags.out, 0o755); err != nil {
			return exit.Errorf(contract.ExitConfig, "--out: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return exit.Errorf(contract.ExitConfig, "--out: %w", err)
		}
		fmt.Fprintln(out, contract.Printable(path))
		return nil
	})
}

// exportFormats understands the names of the files' endings and those of the spec.
func exportFormats(names []string) ([]v1.ExportFormat, error) {
	known := map[string]v1.ExportFormat{"safetensors": v1.ExportSafetensors, "pt": v1.ExportPyTorch, "pytorch": v1.ExportPyTorch,
		"onnx": v1.ExportONNX, "onnx-int8": v1.ExportONNXInt8, "onnxint8": v1.ExportONNXInt8}
	var formats []v1.ExportFormat
	for _, name := range names {
		format, ok := known[strings.ToLower(strings.TrimSpace(name))]
		if !ok {
			return nil, exit.Errorf(contract.ExitConfig, "--format: %q is not known: use safetensors, pt, onnx or onnx-int8", name)
		}
		if !slices.Contains(formats, format) {
			formats = append(formats, format)
		}
	}
	return formats, nil
}
