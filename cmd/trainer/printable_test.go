package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/eval"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

// Names of files and classes come from data that nobody vouches for.
func TestTablesShowNothingThatATerminalObeys(t *testing.T) {
	const name = "cat\x1b[2J\u202e\nerror: dog"
	for what, print := range map[string]func(io.Writer) error{
		"evaluate": evaluation{&eval.Evaluation{Weights: name}, []report.Class{{Name: name}}}.table,
		"predict": func(w io.Writer) error {
			return predictionTable(w, []prediction{{Image: name, Classes: []eval.ClassProbability{{Class: name}}}})
		},
	} {
		var out bytes.Buffer
		if err := print(&out); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); strings.ContainsAny(got, "\x1b\u202e") || strings.Contains(got, "\nerror") || strings.Count(got, "cat�[2J� error: dog") != 2 {
			t.Errorf("%s: %q", what, got)
		}
	}
}
