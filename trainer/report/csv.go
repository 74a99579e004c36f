package report

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// CSV is the content of metrics.csv: a header with the names of metrics.jsonl, and one line an epoch. What an epoch does
// not have is empty.
func CSV(history []checkpoint.EpochMetrics) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	var header []string
	for field := range reflect.TypeFor[checkpoint.EpochMetrics]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		header = append(header, name)
	}
	w.Write(header)
	for _, m := range contract.FiniteEpochs(history) {
		var line []string
		for _, value := range reflect.ValueOf(m).Fields() {
			line = append(line, csvCell(value.Interface()))
		}
		w.Write(line)
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

func csvCell(value any) string {
	switch v := value.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case *float64:
		if v == nil {
			return ""
		}
		return csvCell(*v)
	default:
		return fmt.Sprint(v)
	}
}
