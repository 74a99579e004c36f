package data

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// mostListBytes of a list of images: some ten million lines.
const mostListBytes = 1 << 30

// Names of the columns, or keys, of a list: what labelling tools call them.
var (
	fileColumns  = []string{"file", "file_name", "filename", "path", "image"}
	labelColumns = []string{"label", "class", "category"}
)

// listedParts are the images that lists name: train.csv or train.jsonl, and the same for val and test, beside the images.
func listedParts(ctx context.Context, fs files) (p parts, listed bool, err error) {
	names := fs.names()
	first, ok := find(names, "train.csv", "train.jsonl")
	if !ok {
		return p, false, nil
	}
	here := make(map[string]bool, len(names))
	for _, name := range names {
		here[name] = true
	}
	folder := strings.TrimSuffix(first, path.Base(first))
	for part, to := range map[string]*[]item{"train": &p.train, "val": &p.validation, "test": &p.test} {
		for _, name := range []string{folder + part + ".csv", folder + part + ".jsonl"} {
			if !here[name] {
				continue
			}
			if *to != nil {
				return p, true, exit.Errorf(contract.ExitData, "%s: there is a list %s.csv too: take one of them away", fs.uri(name), part)
			}
			if *to, err = readList(ctx, fs, name, folder, here); err != nil {
				return p, true, err
			}
		}
	}
	if len(p.test) == 0 {
		p.validation, p.test = nil, p.validation
	}
	return p, true, nil
}

// readList reads a list; its files are relative to the folder.
func readList(ctx context.Context, fs files, name, folder string, here map[string]bool) (items []item, err error) {
	seen := map[string]int{} // lines
	add := func(line int, file, label string) error {
		full := path.Join(folder, file)
		switch before := seen[full]; {
		case file == "":
			return fmt.Errorf("line %d: names no file", line)
		case label == "":
			return fmt.Errorf("line %d: %s has no label", line, file)
		case strings.ContainsFunc(label, contract.Unprintable):
			return fmt.Errorf("line %d: the label %.200q has characters that cannot be shown", line, label)
		case before > 0:
			return fmt.Errorf("line %d: %s is listed already, in line %d", line, file, before)
		case !here[full]:
			return fmt.Errorf("line %d: %.200q is not there; files are relative to the folder of the list", line, file)
		}
		seen[full] = line
		items = append(items, item{file: full, class: label, listed: true})
		return nil
	}
	err = fs.read(ctx, []string{name}, func(_ int, f *file) (bool, error) {
		content, err := readAtMost(f, mostListBytes)
		if err != nil {
			return false, err
		}
		content = bytes.TrimPrefix(content, []byte("\ufeff"))
		if path.Ext(name) == ".csv" {
			return false, readCSV(content, add)
		}
		return false, readJSONLines(content, add)
	})
	if err == nil && len(items) == 0 {
		err = exit.Errorf(contract.ExitData, "%s: lists no images", fs.uri(name))
	}
	return items, err
}

// column finds one of the names among those that there are; -1 if none is there.
func column(have, names []string) int {
	for _, name := range names {
		for i, h := range have {
			if strings.EqualFold(strings.TrimSpace(h), name) {
				return i
			}
		}
	}
	return -1
}

func readCSV(content []byte, add func(line int, file, label string) error) error {
	r := csv.NewReader(bytes.NewReader(content))
	r.ReuseRecord, r.TrimLeadingSpace = true, true
	head, err := r.Read()
	if err == io.EOF {
		return errors.New("is empty")
	}
	if err != nil {
		return err
	}
	file, label := column(head, fileColumns), column(head, labelColumns)
	if file < 0 || label < 0 {
		return fmt.Errorf("the first line must name the columns file and label (or %s; %s): it is %.200q",
			strings.Join(fileColumns[1:], ", "), strings.Join(labelColumns[1:], ", "), strings.Join(head, ","))
	}
	for {
		record, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil { // names the line
			return err
		}
		line, _ := r.FieldPos(0)
		if err := add(line, strings.Clone(record[file]), strings.Clone(strings.TrimSpace(record[label]))); err != nil {
			return err
		}
	}
}

func readJSONLines(content []byte, add func(line int, file, label string) error) error {
	for line := 1; len(content) > 0; line++ {
		var text []byte
		text, content, _ = bytes.Cut(content, []byte("\n"))
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		var object map[string]any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&object); err != nil {
			return fmt.Errorf("line %d: is no JSON object: %.100q", line, text)
		}
		value := func(names []string) string {
			for _, name := range names {
				switch v := object[name].(type) {
				case string:
					return v
				case json.Number:
					return v.String()
				}
			}
			return ""
		}
		if err := add(line, value(fileColumns), value(labelColumns)); err != nil {
			return err
		}
	}
	return nil
}
