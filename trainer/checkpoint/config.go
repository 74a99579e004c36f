package checkpoint

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// config is what decides the numbers: the model, dataset and training of a spec, flat, as "training.epochs": 20. It has
// every field of them, empty ones too, so that a field that is absent is one that this version does not know. It holds no
// secret: of a signed URL it has what does not change when it is signed anew.
type config map[string]json.RawMessage

func configOf(spec *v1.ResNetTrainingJobSpec) (config, error) {
	c := config{}
	dataset := spec.Dataset
	dataset.URI = uri.Public(dataset.URI)
	for name, part := range map[string]any{"model": spec.Model, "dataset": dataset, "training": spec.Training} {
		if err := c.flatten(name, reflect.ValueOf(part)); err != nil {
			return nil, err
		}
	}
	if d := spec.Distributed; d != nil {
		return c, errors.Join(c.flatten(normalization, reflect.ValueOf(cmp.Or(d.Normalization, v1.PerProcess))),
			c.flatten(compression, reflect.ValueOf(cmp.Or(d.Compression, v1.CompressionNone))))
	}
	return c, nil
}

// The fields of spec.distributed that decide the numbers.
const normalization, compression = "distributed.normalization", "distributed.compression"

// ofOneProcess is what a configuration means that has no fields of spec.distributed.
var ofOneProcess = config{normalization: json.RawMessage(`"PerProcess"`), compression: json.RawMessage(`"None"`)}

// datasetURI is the field that may be a signed URL.
const datasetURI = "dataset.uri"

// redacted is a field as it was written by a version that kept signatures.
func redacted(name string, value json.RawMessage) json.RawMessage {
	var was string
	if name != datasetURI || json.Unmarshal(value, &was) != nil {
		return compact(value)
	}
	data, err := json.Marshal(uri.Public(was))
	if err != nil {
		return compact(value)
	}
	return data
}

// flatten adds a value, and the fields of structs one by one.
func (c config) flatten(name string, v reflect.Value) error {
	if v.Kind() == reflect.Struct {
		for field, value := range v.Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if err := c.flatten(name+"."+key, value); err != nil {
				return err
			}
		}
		return nil
	}
	data, err := json.Marshal(v.Interface())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c[name] = data
	return nil
}

// digest is the SHA-256 of the JSON of c, whose keys are sorted.
func (c config) digest() string {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // made of valid JSON
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// differences names the fields in which the configuration of a checkpoint is another one; "" if there are none. Fields
// that only one of them has do not count: they came or went with a version of the trainer, and mean their default.
// Those of spec.distributed do, because a job can have none of them.
func (c config) differences(old config) string {
	var diffs []string
	all := maps.Clone(ofOneProcess)
	maps.Copy(all, c)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, ok := old[name]
		if !ok {
			was, ok = ofOneProcess[name]
		}
		if !ok {
			continue
		}
		if was = redacted(name, was); !bytes.Equal(was, compact(all[name])) {
			diffs = append(diffs, fmt.Sprintf("spec.%s was %s and is now %s", name, was, all[name]))
		}
	}
	return strings.Join(diffs, ", ")
}

// Config returns the fields of a spec that decide the numbers, by their path below spec, as JSON: "training.epochs": 20.
func Config(spec *v1.ResNetTrainingJobSpec) (map[string]json.RawMessage, error) {
	return configOf(spec)
}

// SpecDifferences names the fields that decide the numbers in which a spec differs from an older one; "" if there are none.
// A training does not go on from the state of one that differs.
func SpecDifferences(old, spec *v1.ResNetTrainingJobSpec) (string, error) {
	was, err := configOf(old)
	if err != nil {
		return "", err
	}
	is, err := configOf(spec)
	return is.differences(was), err
}

// compact takes the indentation out that a manifest adds.
func compact(data json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, data) != nil {
		return data
	}
	return b.Bytes()
}

// compare refuses a checkpoint of another configuration.
func (c config) compare(m manifest) error {
	if m.ConfigDigest == c.digest() {
		return nil
	}
	if diffs := c.differences(m.Config); diffs != "" {
		return exit.Errorf(contract.ExitConfig, "checkpoint %s belongs to another configuration: %s: set it back, or choose another name or spec.storage.uri to train anew",
			m.Name, diffs)
	}
	return nil
}
