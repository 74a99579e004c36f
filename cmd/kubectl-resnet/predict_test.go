package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/export"
)

// The trainer is a program that shows what it was given.
func TestPredict(t *testing.T) {
	e := newEnv(t)
	job := e.createJob("flowers", func(j *v1.ResNetTrainingJob) {
		inBucket(e.bucket())(j)
		j.Spec.Model.Architecture = v1.ResNet34
	})
	trainer := write(t, "trainer", "#!/bin/sh\necho \"$1 $6 $7 $8 $9\"; cat \"$3\" \"$5\"\n")
	e.must(os.Chmod(trainer, 0o700))
	image := write(t, "rose.jpg", "")
	e.fails([]string{"predict", "flowers"}, "want a job and one or more images")
	e.fails([]string{"predict", "flowers", "nothing.jpg"}, "nothing.jpg")
	e.fails([]string{"predict", "flowers", image, "--trainer", "no-such-program"}, `no program "no-such-program"`, "make build")
	e.fails([]string{"predict", "flowers", image, "--trainer", trainer}, "flowers has no model yet")

	sum := sha256.Sum256([]byte("weights"))
	encoded, err := (&export.Card{Files: map[string]export.File{
		export.SafetensorsFile: {Bytes: 7, SHA256: hex.EncodeToString(sum[:])}}}).Encode()
	e.must(err)
	e.put(job, contract.ModelPrefix+"/"+export.CardFile, string(encoded))
	e.put(job, contract.ModelKey, "weights")
	out := e.ok("predict", "flowers", image, "--trainer", trainer, "--top", "1")
	if !strings.HasPrefix(out, "predict --top 1 -- "+image+"\n") || !strings.Contains(out, "architecture: ResNet34") || !strings.HasSuffix(out, "weights") {
		t.Error(out)
	}
	e.must(os.WriteFile(trainer, []byte("#!/bin/sh\necho 'error: it is damaged' >&2; exit 65\n"), 0o700))
	e.fails([]string{"predict", "flowers", image, "--trainer", trainer}, "error: it is damaged")
}
