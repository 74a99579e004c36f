package newjob

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

func (o *options) s3() *v1.S3Spec {
	s := &v1.S3Spec{Endpoint: o.endpoint, Region: o.region}
	if o.secret != "" {
		s.CredentialsSecret = &corev1.LocalObjectReference{Name: o.secret}
	}
	return s
}

// manifest is the job, with what one may want to change.
func (d *folder) manifest(o options) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s", d)
	line("apiVersion: %s\nkind: %s\nmetadata:\n  name: %q\nspec:", v1.GroupVersion, v1.Kind, o.name)
	line("  dataset:\n    format: %s\n    uri: %q", d.format, o.data)
	if d.imageSize > 0 {
		line("    imageSize: %d  # shorter side, then the centre; their median is %d pixels", d.imageSize, d.median)
	}
	if d.testFraction > 0 {
		line("    testFraction: %g  # of each class, held out to test with", d.testFraction)
	}
	line("    # validationFraction: 0.1  # held out to choose the best checkpoint by, and to stop early")
	line("  model:\n    architecture: ResNet18  # or ResNet34, ResNet50, …: slower, better with much data")
	line("    stem: %s  # CIFAR for images up to 64 pixels, else ImageNet", d.stem())
	line("  training:\n    epochs: %d", o.epochs)
	if d.train > 0 && d.train < 1000 {
		line("    batchSize: %d  # few images: small batches make more steps", max(8, min(32, d.train/4)))
	}
	if d.imageSize > 0 {
		line("    # augmentation: {randomResizedCrop: {}, policy: TrivialAugmentWide}  # for more epochs than these")
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
	line("  resources:\n    cpu: \"2\"\n    memory: 4Gi")
	if o.gpu {
		line("    gpus: 1")
	}
	return b.String()
}
