package main

import (
	"fmt"
	"image"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/eval"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

const predictHelp = `Label image files with a trained network: for each image the classes that it finds most probable.

Images are files of any size, of the kinds that an ImageFolder may hold. They are resized, cut and made grey or
coloured, to what the network was trained with.`

func predictCommand() *cobra.Command {
	var job jobFlags
	var weights weightsFlag
	var output outputFlag
	var opts trainer.PredictOptions
	cmd := &cobra.Command{
		Use:   "predict -f job.yaml IMAGE...",
		Short: "Label images",
		Long:  predictHelp,
		Example: `  trainer predict -f job.yaml cat.jpg dog.png
  trainer predict -f job.yaml --top 1 --output json photos/*.jpg
  trainer predict -f job.yaml --weights model.safetensors cat.jpg`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, files []string) (err error) {
			if len(files) == 0 {
				return exit.Errorf(contract.ExitConfig, "no image: name one or more files: "+data.ImageKinds)
			}
			if err := output.check(); err != nil {
				return err
			}
			if opts.TopK < 1 {
				return exit.Errorf(contract.ExitConfig, "--top is %d: it must be 1 or more", opts.TopK)
			}
			if opts.Weights, err = weights.weights(); err != nil {
				return err
			}
			spec, err := job.load()
			if err != nil {
				return err
			}
			opts.CacheDir = job.cacheDir
			_, closeLog := openLog(newCounter("labelling").line)
			results, err := predict(cmd, spec, files, opts)
			closeLog()
			if err != nil {
				return err
			}
			return output.write(cmd.OutOrStdout(), results, func(w io.Writer) error { return predictionTable(w, results) })
		},
	}
	job.add(cmd)
	weights.add(cmd, "best")
	output.add(cmd)
	cmd.Flags().IntVar(&opts.TopK, "top", 3, "number of classes for each image")
	return cmd
}

// prediction of one image.
type prediction struct {
	Image   string                  `json:"image"`
	Classes []eval.ClassProbability `json:"classes"`
}

// predict labels the files. All are looked at before the first is labelled, and one at a time is held in memory.
func predict(cmd *cobra.Command, job *v1.ResNetTrainingJob, files []string, opts trainer.PredictOptions) ([]prediction, error) {
	for _, file := range files {
		if _, err := readImage(file); err != nil {
			return nil, err
		}
	}
	images := func(yield func(image.Image, error) bool) {
		for _, file := range files {
			if !yield(decodeImage(file, job.Spec.Dataset.ExifOrientation == v1.ExifApply)) {
				return
			}
		}
	}
	classes, err := trainer.Predict(cmd.Context(), job, images, opts)
	if err != nil {
		return nil, err
	}
	results := make([]prediction, len(files))
	for i, file := range files {
		results[i] = prediction{file, classes[i]}
	}
	return results, nil
}

// readImage reads a file, and refuses what is no image, or too large a one.
func readImage(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "%w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, exit.Errorf(contract.ExitConfig, "%s is a folder: name the images in it", path)
	}
	content, err := data.ReadImage(f)
	if err != nil {
		return nil, exit.Errorf(contract.ExitData, "%s: %w", path, err)
	}
	return content, nil
}

func decodeImage(path string, upright bool) (image.Image, error) {
	content, err := readImage(path)
	if err != nil {
		return nil, err
	}
	im, err := data.Decode(content, upright)
	if err != nil {
		return nil, exit.Errorf(contract.ExitData, "%s is damaged: %w", path, err)
	}
	return im, nil
}

// predictionTable has a line for each image.
func predictionTable(w io.Writer, results []prediction) error {
	for _, r := range results {
		texts := make([]string, len(r.Classes))
		for i, c := range r.Classes {
			name := c.Class
			if name == "" { // the network has more outputs than the data has classes
				name = fmt.Sprintf("#%d", c.Index)
			}
			texts[i] = fmt.Sprintf("%s %s", name, report.Percent(c.Probability))
		}
		if _, err := fmt.Fprintln(w, contract.Line(r.Image+": "+strings.Join(texts, ", "))); err != nil {
			return err
		}
	}
	return nil
}
