package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group"
)

const job = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: tiny}
spec:
  model: {widthMultiplier: 0.125}
  dataset: {format: Synthetic, maxTrainImages: 8, maxTestImages: 4}
  training: {epochs: 1, batchSize: BATCH}
  storage: {uri: "file://DIR"}
`

// TestMain lets the test program be trainer, too: one of the processes of --processes and --nnodes, or that of a shell.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		main()
	}
	os.Exit(m.Run())
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := func(batch string) string {
		path := filepath.Join(dir, batch+".yaml")
		text := strings.NewReplacer("BATCH", batch, "DIR", filepath.Join(dir, batch)).Replace(job)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		args    []string
		attempt string
		code    contract.ExitCode
		want    string
	}{
		"version":                 {args: []string{"version"}},
		"--version":               {args: []string{"--version"}},
		"validate":                {args: []string{"validate", "-f", file("4")}},
		"validate: invalid":       {args: []string{"validate", "-f", file("1")}, code: contract.ExitConfig, want: "spec.training.batchSize"},
		"validate: output":        {args: []string{"validate", "-f", file("4"), "-o", "json"}, code: contract.ExitConfig, want: "use name or yaml"},
		"trains":                  {args: []string{"train", "-f", file("4"), "--serve", "localhost:0"}},
		"processes":               {args: []string{"train", "-f", file("4"), "--set", "metadata.name=two", "--processes", "2"}},
		"processes of the job":    {args: []string{"train", "-f", file("4"), "--set", "metadata.name=three", "--set", "distributed.pods=2"}},
		"other processes":         {args: []string{"train", "-f", file("4"), "--set", "distributed.pods=2", "--processes", "1"}, code: contract.ExitConfig, want: "spec.distributed asks for 2 processes, and --nnodes 1 with --processes 1 makes 1"},
		"processes of a GPU":      {args: []string{"train", "-f", file("4"), "--set", "resources.gpus=1", "--processes", "2"}, code: contract.ExitConfig, want: "spec.resources.gpus is 1, and --processes 2: there is one process for each GPU of a machine"},
		"GPUs that are missing":   {args: []string{"train", "-f", file("4"), "--set", "resources.gpus=2"}, code: contract.ExitConfig, want: "spec.resources.gpus asks for 2 GPUs of this machine, and this trainer finds 0"},
		"no processes":            {args: []string{"train", "-f", file("4"), "--processes", "0"}, code: contract.ExitConfig, want: "--processes is 0"},
		"no nodes":                {args: []string{"train", "-f", file("4"), "--nnodes", "0"}, code: contract.ExitConfig, want: "--nnodes is 0: it must be from 1 to 64"},
		"node rank":               {args: []string{"train", "-f", file("4"), "--nnodes", "2", "--node-rank", "2"}, code: contract.ExitConfig, want: "--node-rank is 2: with --nnodes 2 it must be from 0 to 1"},
		"node rank alone":         {args: []string{"train", "-f", file("4"), "--node-rank", "1"}, code: contract.ExitConfig, want: "--node-rank is 1: with --nnodes 1"},
		"node address":            {args: []string{"train", "-f", file("4"), "--nnodes", "2", "--node-address", "trainer-0"}, code: contract.ExitConfig, want: `--node-address is "trainer-0"`},
		"no node address":         {args: []string{"train", "-f", file("4"), "--nnodes", "2", "--node-address", "::"}, code: contract.ExitConfig, want: `--node-address is "::"`},
		"foreign address":         {args: []string{"train", "-f", file("4"), "--nnodes", "2", "--node-address", "192.0.2.1:29400"}, code: contract.ExitConfig, want: "must be an address of this machine"},
		"uneven batches":          {args: []string{"train", "-f", file("5"), "--processes", "2"}, code: contract.ExitConfig, want: "cannot be divided among 2 processes"},
		"unknown command":         {args: []string{"trian"}, code: contract.ExitConfig, want: "trian"},
		"unknown flag":            {args: []string{"train", "--lr=1"}, code: contract.ExitConfig, want: "--lr"},
		"no file":                 {args: []string{"train"}, code: contract.ExitConfig, want: "--file is required"},
		"missing file":            {args: []string{"train", "-f", "nowhere.yaml"}, code: contract.ExitConfig, want: "nowhere.yaml"},
		"invalid job":             {args: []string{"train", "-f", file("1")}, code: contract.ExitConfig, want: "spec.training.batchSize"},
		"batch too large":         {args: []string{"train", "-f", file("9")}, code: contract.ExitConfig, want: "set it to 8 or less"},
		"attempt no number":       {args: []string{"train", "-f", file("4")}, attempt: "one", code: contract.ExitConfig, want: contract.EnvAttempt},
		"address":                 {args: []string{"train", "-f", file("4"), "--serve", "nowhere"}, code: contract.ExitConfig, want: "--serve"},
		"set":                     {args: []string{"train", "-f", file("4"), "--set", "training.epoch=3"}, code: contract.ExitConfig, want: `did you mean "epochs"`},
		"extra argument":          {args: []string{"train", "job.yaml"}, code: contract.ExitConfig, want: "job.yaml"},
		"evaluate: output":        {args: []string{"evaluate", "-f", file("4"), "--output", "xml"}, code: contract.ExitConfig, want: "use table or json"},
		"evaluate: no file":       {args: []string{"evaluate"}, code: contract.ExitConfig, want: "--file is required"},
		"evaluate: weights":       {args: []string{"evaluate", "-f", file("4"), "--weights", "no.safetensors"}, code: contract.ExitConfig, want: "--weights: stat no.safetensors"},
		"find-lr: flag":           {args: []string{"find-lr", "-f", file("4"), "--steps", "many"}, code: contract.ExitConfig, want: "--steps"},
		"find-lr: format":         {args: []string{"find-lr", "-f", file("4"), "--out", "lr.pdf"}, code: contract.ExitConfig, want: "must end in .png or .svg"},
		"find-lr: folder":         {args: []string{"find-lr", "-f", file("4"), "--out", "/nowhere/lr.png"}, code: contract.ExitConfig, want: "--out: open /nowhere/lr.png"},
		"serve-folder: others":    {args: []string{"serve-folder", dir, "--address", "0.0.0.0:80"}, code: contract.ExitConfig, want: "must be of the loopback device, as 127.0.0.1:8080"},
		"serve-folder: no folder": {args: []string{"serve-folder", "nowhere"}, code: contract.ExitConfig, want: "nowhere: no such file"},
		"predict: nothing":        {args: []string{"predict", "-f", file("4")}, code: contract.ExitConfig, want: "no image"},
		"predict: top":            {args: []string{"predict", "-f", file("4"), "--top", "0", "x.png"}, code: contract.ExitConfig, want: "--top is 0"},
		"predict: missing":        {args: []string{"predict", "-f", file("4"), "nowhere.png"}, code: contract.ExitConfig, want: "nowhere.png"},
		"predict: a folder":       {args: []string{"predict", "-f", file("4"), dir}, code: contract.ExitConfig, want: "is a folder"},
		"predict: no image":       {args: []string{"predict", "-f", file("4"), file("4")}, code: contract.ExitData, want: ": is not PNG, JPEG, WebP, BMP, TIFF, PPM, PGM or GIF: it is of no kind that is known here"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.attempt != "" {
				t.Setenv(contract.EnvAttempt, test.attempt)
			}
			if line := strings.Join(test.args, " "); !group.Available && regexp.MustCompile("--processes 2|--nnodes 2|distributed").MatchString(line) {
				t.Skip("this program was built without Gloo")
			}
			err := execute(t.Context(), test.args)
			if exit.Code(err) != test.code {
				t.Fatalf("exit code %d (%v), want %d", exit.Code(err), err, test.code)
			}
			if err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q", err, test.want)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "4", contract.JobPrefix("default", "tiny", "local"), contract.ModelKey)); err != nil {
		t.Error(err)
	}
}

// TestNodes trains on two nodes of one process each: one has its place from flags, the other from the environment.
func TestNodes(t *testing.T) {
	if !group.Available {
		t.Skip("this program was built without Gloo")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "job.yaml")
	text := strings.NewReplacer("BATCH", "4", "DIR", dir).Replace(job)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	first := exec.Command(self, "train", "-f", file)
	first.Env = append(os.Environ(), contract.EnvNodes+"=2", contract.EnvNodeRank+"=0", contract.EnvNodeAddress+"=127.0.0.2")
	second := exec.Command(self, "train", "-f", file, "--nnodes", "2", "--node-rank", "1", "--node-address", "127.0.0.3:0")
	var wg sync.WaitGroup
	for node, cmd := range []*exec.Cmd{first, second} {
		wg.Go(func() {
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("node %d: %v: %s", node, err, output)
			}
		})
	}
	wg.Wait()
	if _, err := os.Stat(filepath.Join(dir, contract.JobPrefix("default", "tiny", "local"), contract.ModelKey)); err != nil {
		t.Error(err)
	}
	t.Setenv(contract.EnvNodes, "two")
	if err := execute(t.Context(), []string{"train", "-f", file}); exit.Code(err) != contract.ExitConfig ||
		!strings.Contains(err.Error(), contract.EnvNodes) {
		t.Error(err)
	}
}

// The defaults that are printed are those that train uses: the text is a job of its own, and the same.
func TestValidatePrintsTheWholeJob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "job.yaml")
	write(t, path, strings.NewReplacer("BATCH", "4", "DIR", "/tmp").Replace(job))
	text, err := command(t, "validate", "-f", path, "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "\n    epochs: 1\n") || !strings.Contains(text, "type: AdamW") || strings.Contains(text, "uid") {
		t.Errorf("the job with its defaults:\n%s", text)
	}
	write(t, path, text)
	if again, err := command(t, "validate", "-f", path, "-o", "yaml"); again != text || err != nil {
		t.Errorf("its defaults have other defaults: %v\n%s\n%s", err, text, again)
	}
}
