package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

func TestGetModelAndReport(t *testing.T) {
	e := newEnv(t)
	job := e.createJob("flowers", inBucket(e.bucket()))
	e.fails([]string{"get-model", "flowers"}, "flowers has no model yet: it is not seen by the operator yet", "kubectl resnet watch flowers")
	e.setStatus(job, training(1))
	e.fails([]string{"report", "flowers"}, "flowers has no report yet: it is Running, epoch 1/3")
	e.setStatus(job, endedAs(v1.StateSucceeded, v1.ConditionComplete, v1.ReasonSucceeded, "done"))
	e.fails([]string{"get-model", "flowers"}, "has no model, though the job has Succeeded: somebody has removed what was there")

	content := "weights"
	sum := sha256.Sum256([]byte(content))
	card := export.Card{Files: map[string]export.File{
		export.SafetensorsFile: {Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])},
		export.ONNXFile:        {Bytes: 5, SHA256: hex.EncodeToString(sum[:])},
	}}
	encoded, err := card.Encode()
	e.must(err)
	e.put(job, contract.ModelPrefix+"/"+export.CardFile, string(encoded))
	e.put(job, contract.ModelKey, content)
	dir := t.TempDir()
	e.fails([]string{"get-model", "flowers", "-d", dir}, "model.onnx is missing, which the job has written")
	e.put(job, contract.ModelPrefix+"/"+export.ONNXFile, "other")
	e.fails([]string{"get-model", "flowers", "-d", dir}, "model.onnx is damaged: it has 5 bytes with SHA-256")
	if _, err := os.Stat(filepath.Join(dir, export.ONNXFile)); err == nil {
		t.Error("a damaged file was kept")
	}
	out := e.ok("get-model", "flowers", "-d", dir, "--format", "safetensors")
	if !strings.Contains(out, "model.safetensors  7 B  verified") {
		t.Error(out)
	}
	for name, want := range map[string]string{export.SafetensorsFile: content, export.CardFile: string(encoded)} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	e.fails([]string{"get-model", "flowers", "--format", "onnx-int8"}, "was not exported as onnx-int8: it has model.onnx, model.safetensors")
	e.fails([]string{"get-model", "flowers", "--format", "tflite"}, `--format is "tflite": want one of onnx, onnx-int8, pytorch, safetensors`)

	e.put(job, contract.ReportJSONKey, `{"job":{"uid":"another"}}`)
	e.fails([]string{"report", "flowers", "-d", dir}, "is of another job (uid another)")
	e.put(job, contract.ReportJSONKey, `{"job":{"uid":"`+string(job.UID)+`"}}`)
	e.put(job, contract.ReportKey, "<html>")
	if out := e.ok("report", "flowers", "-d", dir); out != filepath.Join(dir, "report.html")+"\n" {
		t.Error(out)
	}
	if out := e.ok("describe", "flowers", "--bucket"); !strings.Contains(out, "model/") || !strings.Contains(out, "report/") {
		t.Error(out)
	}
}

// A card that somebody else wrote names no file elsewhere.
func TestNamesOfFilesLeadNowhere(t *testing.T) {
	for name, want := range map[string]bool{"model.onnx": true, "": false, "..": false, "../x": false, "a/b": false, `a\b`: false,
		"c:x": false, ".bashrc": false, "a\x1b": false} {
		if got := plainName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestCompare(t *testing.T) {
	e := newEnv(t)
	s3 := e.bucket()
	a := e.createJob("a", inBucket(s3))
	b := e.createJob("b", func(j *v1.ResNetTrainingJob) {
		inBucket(s3)(j)
		j.Spec.Training.Epochs, j.Spec.Training.Optimizer.Type = 3, v1.SGD
	})
	e.createJob("c", nil)
	for i, job := range []*v1.ResNetTrainingJob{a, b} {
		var lines bytes.Buffer
		for epoch := 1; epoch <= 3; epoch++ {
			e.must(json.NewEncoder(&lines).Encode(contract.EpochMetrics{Epoch: int32(epoch), Step: int64(epoch) * 10, TestLoss: new(0.5),
				Accuracy: new(0.5 + 0.1*float64(epoch+i)), Seconds: 60, ImagesPerSecond: 200}))
		}
		e.setStatus(job, endedAs(v1.StateSucceeded, v1.ConditionComplete, v1.ReasonSucceeded, "done"))
		e.setStatus(job, func(s *v1.ResNetTrainingJobStatus) { s.FirstStepTime = new(metav1.Now()) })
		e.put(job, contract.MetricsKey(1), lines.String())
	}
	golden(t, "compare.txt", e.ok("compare", "a", "b"))
	var all []compared
	if err := json.Unmarshal([]byte(e.ok("compare", "a", "b", "-o", "json")), &all); err != nil || len(all) != 2 ||
		string(all[1].Fields["training.epochs"]) != "3" || *all[1].BestAccuracy < 0.89 || all[0].Seconds != 180 {
		t.Errorf("%+v, %v", all, err)
	}
	e.fails([]string{"compare", "a"}, "want the names of at least 2 job(s)")
	e.fails([]string{"compare", "a", "b", "-o", "wide"}, `--output is "wide": want json or yaml`)
	e.fails([]string{"compare", "a", "nobody"}, `there is no job "nobody"`)
}

func TestCheck(t *testing.T) {
	e := newEnv(t)
	job := e.createJob("flowers", inBucket(e.bucket()))
	code, out, errOut := e.run("check", "flowers")
	// Nothing runs the operator here.
	if code != 1 || errOut != "" || strings.Count(out, outcomeFailed) != 1 || !strings.Contains(out, "no Deployment has the label") ||
		!strings.Contains(out, "ok      CRD") || !strings.Contains(out, job.Name+"/"+string(job.UID)+"/ can be listed, and holds 0 files") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	if strings.Contains(out, storetest.SecretKey) {
		t.Error("it shows a credential")
	}
	code, out, _ = e.runAs("nobody", "check", "-o", "json")
	var findings []finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 1 {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	if !strings.Contains(out, "you may not get, list, watch resnettrainingjobs in namespace "+e.ns) {
		t.Error(out)
	}
	at := func(port string) string {
		return write(t, "job.yaml", strings.ReplaceAll(jobFile, "s3: {", "s3: {endpoint: \"http://minio."+e.ns+":"+port+"\", "))
	}
	if _, out, _ := e.run("check", "-f", at("9000")); !strings.Contains(out, "s3://models can be listed") {
		t.Error(out)
	}
	if code, out, _ := e.run("check", "-f", at("1")); code != 1 || !strings.Contains(out, "Service minio in namespace "+e.ns+" has no port 1") {
		t.Error(out)
	}
	e.must(e.kube.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "account"}}))
	if _, out, _ := e.run("check", "flowers"); !strings.Contains(out, "there is no Secret account in namespace "+e.ns) {
		t.Error(out)
	}

	// The manager as it is installed, by its own file; its pods never come here.
	manifest, err := os.ReadFile("../../config/manager/deployment.yaml")
	e.must(err)
	var manager appsv1.Deployment
	e.must(yaml.UnmarshalStrict(manifest, &manager))
	manager.Namespace = e.ns
	e.must(e.kube.Create(t.Context(), &manager))
	defer e.kube.Delete(context.Background(), &manager)
	want := e.ns + "/resnet-operator (resnet-operator/manager:dev) has no available pod of 2"
	if _, out, _ := e.run("check"); !strings.Contains(out, want) {
		t.Error(out)
	}
}
