// Package documents finds the commands of the documentation for the tests that run them.
//
// Commands are in fenced blocks of the language sh. What runs one stands in a comment on the line before it:
//
//	<!-- test: trainer -->        the test of this name runs the block
//	<!-- not run: a reason -->    no test can
//
// A block without either is in a page that a test runs as a whole.
package documents

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Tests that run commands, and where they are.
var Tests = map[string]string{
	"trainer": "cmd/trainer: TestDocuments",
	"edge":    "cmd/trainer: TestEdgeDocument",
	"kubectl": "cmd/kubectl-resnet: TestDocuments",
	"install": "test/install: TestDocumentedInstallationsKeepJobs",
	"cluster": "test/e2e: TestFirstJob",
}

// whole are the pages that one test runs from their first block to their last.
var whole = map[string]string{"docs/edge.md": "edge", "docs/install.md": "install"}

// Block of code.
type Block struct {
	Page           string // relative to the root of the repository
	Line           int
	Language, Text string
	// Test is one of Tests, or NotRun says why there is none.
	Test, NotRun string
}

var mark = regexp.MustCompile(`^<!-- (test|not run): (.+) -->$`)

// Pages for people, relative to the root of the repository.
func Pages(root string) ([]string, error) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "test/cluster/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			page, err := filepath.Rel(root, file)
			if err != nil {
				return nil, err
			}
			pages = append(pages, filepath.ToSlash(page))
		}
	}
	slices.Sort(pages)
	return pages, nil
}

// Blocks of a page.
func Blocks(root, page string) (blocks []Block, err error) {
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		language, fence := strings.CutPrefix(lines[i], "```")
		if !fence {
			continue
		}
		length := slices.Index(lines[i+1:], "```")
		if length < 0 {
			return nil, fmt.Errorf("%s:%d: a block without an end", page, i+1)
		}
		b := Block{Page: page, Line: i + 1, Language: language, Text: strings.Join(lines[i+1:i+1+length], "\n") + "\n",
			Test: whole[page]}
		if i > 0 {
			switch m := mark.FindStringSubmatch(lines[i-1]); {
			case m != nil && m[1] == "test":
				b.Test = m[2]
			case m != nil:
				b.Test, b.NotRun = "", m[2]
			}
		}
		blocks = append(blocks, b)
		i += length + 1
	}
	return blocks, nil
}

// Commands are the blocks that a test runs, by their page, in their order.
func Commands(root, test string) (map[string][]Block, error) {
	pages, err := Pages(root)
	if err != nil {
		return nil, err
	}
	found := map[string][]Block{}
	for _, page := range pages {
		blocks, err := Blocks(root, page)
		if err != nil {
			return nil, err
		}
		for _, b := range blocks {
			if b.Language == "sh" && b.Test == test {
				found[page] = append(found[page], b)
			}
		}
	}
	return found, nil
}
