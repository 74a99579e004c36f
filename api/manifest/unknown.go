package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// unknownFields names fields that do not exist, and for each the one that was probably meant.
func (s *jobSchema) unknownFields(paths []string) error {
	texts := make([]string, len(paths))
	for i, path := range paths {
		texts[i] = fmt.Sprintf("unknown field %q", path)
		if meant := s.nearest(path); meant != "" {
			texts[i] += fmt.Sprintf(": did you mean %q?", meant)
		}
	}
	return errors.New(strings.Join(texts, "; "))
}

// nearest returns the field beside the unknown one whose name is the most like it, "" if none is.
func (s *jobSchema) nearest(path string) string {
	parent, name := s.structural, path
	for {
		head, rest, more := strings.Cut(name, ".")
		if !more {
			break
		}
		next, ok := parent.Properties[head]
		if !ok {
			return "" // inside metadata or a list
		}
		parent, name = &next, rest
	}
	best, distance := "", 1+max(1, len(name)/3)
	for _, candidate := range slices.Sorted(maps.Keys(parent.Properties)) {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// editDistance is Levenshtein's: the number of letters to insert, delete or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
