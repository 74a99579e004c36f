package documents

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func pages(t *testing.T) []string {
	t.Helper()
	all, err := Pages(root)
	if err != nil || len(all) < 15 {
		t.Fatalf("%d pages, %v", len(all), err)
	}
	return all
}

// indented commands would be run by no test.
var indented = regexp.MustCompile(`^(?: {4,}|\t)(?:kubectl|trainer|bin/|make|helm|go|pip|curl|docker|aws|tensorboard|[A-Z_]+=\S+) \S`)

// Each command of the documentation is run by a test, or says why none runs it. -v lists those.
func TestEveryCommandIsRun(t *testing.T) {
	run := map[string]int{}
	for _, page := range pages(t) {
		blocks, err := Blocks(root, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			switch {
			case b.Language != "sh" && b.Test+b.NotRun == "", b.Language != "sh" && Tests[b.Test] != "":
			case b.Language != "sh":
				t.Errorf("%s:%d: marked as commands, but it is a block of %q", page, b.Line, b.Language)
			case b.NotRun != "":
				t.Logf("%s:%d is not run: %s", page, b.Line, b.NotRun)
			case b.Test == "":
				t.Errorf("%s:%d: which test runs it? Write <!-- test: … --> on the line before, or <!-- not run: … -->", page, b.Line)
			case Tests[b.Test] == "":
				t.Errorf("%s:%d: there is no test %q", page, b.Line, b.Test)
			default:
				run[b.Test]++
			}
		}
		code := false
		for i, line := range strings.Split(read(t, page), "\n") {
			if strings.HasPrefix(line, "```") {
				code = !code
			}
			if !code && indented.MatchString(line) {
				t.Errorf("%s:%d: commands belong into a block of sh, so that a test can run them", page, i+1)
			}
		}
	}
	for test, where := range Tests {
		if run[test] == 0 {
			t.Errorf("the test %s (%s) runs nothing", test, where)
		}
		file, name, _ := strings.Cut(where, ": ")
		found := false
		for path, source := range sources(t, file) {
			found = found || strings.HasSuffix(path, "_test.go") && strings.Contains(source, "func "+name+"(")
		}
		if !found {
			t.Errorf("there is no %s", where)
		}
	}
}

// sources are the Go files of a folder.
func sources(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			text, err := os.ReadFile(path)
			found[path] = string(text)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestLinks: links within the repository lead to files, and to headings that are there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, heading := m[1], m[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(page), target))
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[0])
				continue
			}
			if heading != "" && strings.HasSuffix(file, ".md") && !headings(read(t, file))[heading[1:]] {
				t.Errorf("%s: %s: there is no such heading", page, m[0])
			}
		}
	}
}

// headings by their names in links, as GitHub makes them.
func headings(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if name := strings.TrimLeft(line, "#"); name != line && strings.HasPrefix(name, " ") {
			name = strings.ToLower(strings.TrimSpace(name))
			name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
			found[strings.ReplaceAll(name, " ", "-")] = true
		}
	}
	return found
}

// TestIndex: each page of docs is in the index.
func TestIndex(t *testing.T) {
	index := read(t, "docs/README.md")
	for _, page := range pages(t) {
		name, ok := strings.CutPrefix(page, "docs/")
		if ok && name != "README.md" && !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/README.md: add %s", name)
		}
	}
}

const troubleshooting = "docs/troubleshooting.md"

// Each reason of a condition and each exit code has its entry, and each message in the page is one that there is.
func TestTroubleshooting(t *testing.T) {
	page := read(t, troubleshooting)
	want := map[string]bool{}
	for path, source := range sources(t, "api") {
		file, err := parser.ParseFile(token.NewFileSet(), path, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			value, ok := spec.Values[0].(*ast.BasicLit)
			switch name := spec.Names[0].Name; {
			case !ok:
			case strings.HasPrefix(name, "Reason") && filepath.Base(path) == "reasons.go":
				reason, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				want["`"+reason+"`"] = true
			case strings.HasPrefix(name, "Exit") && filepath.Base(path) == "exitcode.go":
				want["\n| "+value.Value+" | "] = true
			}
			return true
		})
	}
	if len(want) < 35 {
		t.Fatalf("%d reasons and codes: are they somewhere else now?", len(want))
	}
	for entry := range want {
		if !strings.Contains(page, entry) {
			t.Errorf("%s: add %s", troubleshooting, strings.TrimSpace(entry))
		}
	}

	said := literals(t, "trainer") + literals(t, "api") + literals(t, "cmd/trainer")
	_, messages, ok := strings.Cut(page, "\n## Messages of the trainer\n")
	if !ok {
		t.Fatal("where are the messages of the trainer?")
	}
	messages, _, _ = strings.Cut(messages, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(messages, -1)
	if len(rows) < 20 {
		t.Errorf("%d messages", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(said, row[1]) {
			t.Errorf("%s: nothing says %q any more", troubleshooting, row[1])
		}
	}
}

var verb = regexp.MustCompile(`%[-+#.0-9]*[a-zA-Z]`)

// literals of the programs below a folder, a sum as one; … is what a format leaves open.
func literals(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for path, source := range sources(t, folder) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if text := textOf(n); text != "" {
				all.WriteString(verb.ReplaceAllString(text, "…") + "\n")
				return false
			}
			return true
		})
	}
	return all.String()
}

func textOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		if n.Op == token.ADD {
			return textOf(n.X) + textOf(n.Y)
		}
	}
	return ""
}
