package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/mlflow"
	"github.com/resnet-operator/resnet-operator/trainer/report"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
	"github.com/resnet-operator/resnet-operator/trainer/version"
)

// beginMLflow tells what is known of an attempt before its data is.
func (r *Recorder) beginMLflow() {
	a := r.Artifacts() // not all of it is there yet
	r.mlflow.Params(paramsOf(r.job.Spec))
	r.mlflow.Tags(map[string]string{
		"resnet-operator.job": r.job.Namespace + "/" + r.job.Name, "resnet-operator.uid": string(r.job.UID),
		"resnet-operator.attempt": strconv.Itoa(int(r.attempt)), "resnet-operator.trainer": version.String(),
		"resnet-operator.metrics": a.Metrics, "resnet-operator.report": a.Report,
	})
}

// logEpoch tells of an epoch. Its curves have the steps of the optimiser on their axis, as those within epochs have.
func (r *Recorder) logEpoch(m checkpoint.EpochMetrics) {
	for tag, v := range report.Scalars(m) {
		r.mlflow.Metric(tag, m.Step, time.Now(), v)
	}
	r.mlflow.Metric("epoch", m.Step, time.Now(), float64(m.Epoch))
}

// mlflowStatus is how a run ended. What was stopped goes on with the next attempt.
func mlflowStatus(err error) mlflow.Status {
	switch {
	case err == nil:
		return mlflow.Finished
	case exit.Code(err) == contract.ExitStopped:
		return mlflow.Killed
	}
	return mlflow.Failed
}

// paramsOf is what decides the numbers, each field by its path in the spec.
func paramsOf(spec v1.ResNetTrainingJobSpec) map[string]string {
	spec.Dataset.URI = uri.Public(spec.Dataset.URI)
	params := map[string]string{}
	for name, part := range map[string]any{"model": spec.Model, "dataset": spec.Dataset, "training": spec.Training} {
		encoded, err := json.Marshal(part)
		decoder := json.NewDecoder(bytes.NewReader(encoded))
		decoder.UseNumber() // as they were written
		var decoded any
		if err == nil && decoder.Decode(&decoded) == nil {
			flatten(name, decoded, params)
		}
	}
	return params
}

// flatten enters the fields of an object by their paths; lists stay JSON.
func flatten(path string, value any, into map[string]string) {
	switch v := value.(type) {
	case map[string]any:
		for name, field := range v {
			flatten(path+"."+name, field, into)
		}
	case []any:
		encoded, _ := json.Marshal(v) // it came from JSON
		into[path] = string(encoded)
	default:
		into[path] = fmt.Sprint(v)
	}
}
