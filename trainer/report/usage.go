package report

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// Code is a program that uses the model, to be copied.
type Code struct{ Title, Note, Text string }

// Code that loads the model of this job and labels an image: in PyTorch where torchvision has the network, and in ONNX
// Runtime where there is such a file. It is complete, and runs in the folder model/.
func (r *Report) Code() (all []Code) {
	c, err := arch.ConfigOf(r.Spec.Model, r.Data.Height, r.Data.Width, r.Data.Channels, len(r.Data.Classes))
	if err != nil {
		return nil
	}
	if file := r.stateDictFile(); file != "" && (r.Spec.Model.WidthMultiplier == 1 || r.Spec.Model.WidthMultiplier == 0) {
		all = append(all, Code{"PyTorch", "torchvision's own network; needs torch, torchvision and Pillow.",
			r.torchCode(c, file)})
	}
	if r.exports(v1.ExportONNX) {
		all = append(all, Code{"ONNX Runtime", "Needs onnxruntime, numpy and Pillow.", r.onnxCode(c)})
	}
	return all
}

func (r *Report) exports(f v1.ExportFormat) bool { return slices.Contains(r.Spec.Export.Formats, f) }

// stateDictFile is model.pt, or else model.safetensors, which is always there.
func (r *Report) stateDictFile() string {
	if r.exports(v1.ExportPyTorch) {
		return "model.pt"
	}
	return path.Base(contract.ModelKey)
}

func (r *Report) torchCode(c arch.Config, file string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("import torch, torchvision")
	line("from PIL import Image, ImageOps")
	if file == "model.pt" {
		line("from torch import nn")
	} else {
		line("from safetensors.torch import load_file\nfrom torch import nn")
	}
	line("")
	options := ""
	if c.Groups > 0 {
		options = fmt.Sprintf(", norm_layer=lambda channels: nn.GroupNorm(%d, channels)", c.Groups)
	}
	line("net = torchvision.models.%s(num_classes=%d%s)", strings.ToLower(string(r.Spec.Model.Architecture)), c.Classes, options)
	switch {
	case !c.ImageNetStem:
		line("net.conv1 = nn.Conv2d(%d, 64, 3, padding=1, bias=False)  # the stem for small images", c.Channels)
		line("net.maxpool = nn.Identity()")
	case c.Channels != 3:
		line("net.conv1 = nn.Conv2d(%d, 64, 7, stride=2, padding=3, bias=False)", c.Channels)
	}
	if c.Activation != v1.ReLU {
		line("for module in net.modules():")
		line("    if hasattr(module, \"relu\"):")
		line("        module.relu = nn.%s()", c.Activation)
	}
	if file == "model.pt" {
		line("net.load_state_dict(torch.load(%q, weights_only=True))", file)
	} else {
		line("net.load_state_dict(load_file(%q))", file)
	}
	line("net.eval()")
	line("")
	r.openImage(line)
	line("x = torchvision.transforms.functional.to_tensor(image)")
	line("x = torchvision.transforms.functional.normalize(x, %s, %s)", floats(r.Data.Mean), floats(r.Data.Std))
	line("classes = json.load(open(\"model.json\"))[\"classes\"]")
	line("print(classes[net(x.unsqueeze(0)).argmax()])")
	return "import json\n" + b.String()
}

func (r *Report) onnxCode(c arch.Config) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("import json")
	line("import numpy as np, onnxruntime")
	line("from PIL import Image, ImageOps")
	line("")
	r.openImage(line)
	line("x = np.asarray(image, dtype=np.float32).reshape(%d, %d, %d) / 255", r.Data.Height, r.Data.Width, c.Channels)
	if !r.Spec.Export.IncludeNormalization {
		line("x = (x - np.float32(%s)) / np.float32(%s)", floats(r.Data.Mean), floats(r.Data.Std))
	}
	line("x = x.transpose(2, 0, 1)[None]  # 1×channels×height×width")
	line("session = onnxruntime.InferenceSession(\"model.onnx\")")
	line("classes = json.load(open(\"model.json\"))[\"classes\"]")
	line("print(classes[session.run(None, {\"input\": x})[0].argmax()])")
	return b.String()
}

// openImage makes of any photograph what the network was trained with.
func (r *Report) openImage(line func(format string, args ...any)) {
	mode := "RGB"
	if r.Data.Channels == 1 {
		mode = "L"
	}
	h, w := r.Data.Height, r.Data.Width
	switch r.Spec.Dataset.Format {
	case v1.MNIST, v1.FashionMNIST:
		line("image = Image.open(\"photo.png\").convert(%q).resize((28, 28))", mode)
		line("image = ImageOps.expand(image, 2)  # to 32×32, as in training")
	default:
		line("image = ImageOps.fit(Image.open(\"photo.jpg\").convert(%q), (%d, %d), Image.BILINEAR)", mode, w, h)
	}
}

// floats is a list in Python.
func floats(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.FormatFloat(v, 'g', -1, 32)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// Link to a file of the job, relative to the page: it works in a bucket and in a folder on disk.
type link struct{ Name, Href, Note string }

// links to what is there by the time of the report.
func (r *Report) links() (all []link) {
	add := func(key, note string) { all = append(all, link{key, "../" + key, note}) }
	if r.Training.State == StateDone {
		for _, file := range []struct {
			format v1.ExportFormat
			name   string
			note   string
		}{
			{v1.ExportPyTorch, "model.pt", "state dict for torch.load"},
			{v1.ExportSafetensors, path.Base(contract.ModelKey), "weights as safetensors"},
			{v1.ExportONNX, "model.onnx", "graph for ONNX Runtime and others"},
			{v1.ExportONNXInt8, "model.int8.onnx", "the same in 8 bits"},
		} {
			if file.format == v1.ExportSafetensors || r.exports(file.format) {
				add(contract.ModelPrefix+"/"+file.name, file.note)
			}
		}
		add(contract.ModelPrefix+"/model.json", "card: input, classes, recipe")
	}
	attempt := r.Training.Attempts
	add(contract.ReportJSONKey, "this report for programs")
	if len(r.History) > 0 {
		add(contract.MetricsCSVKey(attempt), "a line an epoch, as a table")
		add(contract.MetricsKey(attempt), "the same as JSON")
	}
	if keep := r.Spec.KeepLogs; r.Training.State != StateTraining && (keep == nil || *keep) {
		for a := int32(1); a <= attempt && a <= maxLogs; a++ {
			add(contract.LogKey(a), "log of attempt "+strconv.Itoa(int(a)))
		}
	}
	return all
}

// maxLogs is how many attempts have a link to their log.
const maxLogs = 20
