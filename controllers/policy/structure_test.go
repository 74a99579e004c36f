package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What decides must not be able to ask or to do anything, and knows the time only as an argument.
func TestThePolicyIsPure(t *testing.T) {
	deps, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, deps)
	}
	for path := range strings.Lines(string(deps)) {
		for _, client := range []string{"k8s.io/client-go/", "sigs.k8s.io/controller-runtime/"} {
			if strings.HasPrefix(path, client) {
				t.Errorf("imports %s", strings.TrimSpace(path))
			}
		}
	}
	for name, file := range sources(t) {
		for _, i := range file.Imports {
			if slices.Contains([]string{`"net/http"`, `"os"`, `"context"`, `"sync"`, `"math/rand"`}, i.Path.Value) {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				from, _ := s.X.(*ast.Ident)
				if from != nil && from.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After"}, s.Sel.Name) {
					t.Errorf("%s calls time.%s", name, s.Sel.Name)
				}
			}
			return true
		})
	}
}

// The order is the one in doc.go.
func TestReferencesRunDownwards(t *testing.T) {
	files := sources(t)
	var order []string
	for _, match := range regexp.MustCompile(`(?m)^\t(\w+\.go) `).FindAllStringSubmatch(files["doc.go"].Doc.Text(), -1) {
		order = append(order, match[1])
	}
	declaredIn, methodIn := map[string]string{}, map[string]string{}
	for name, file := range files {
		if !slices.Contains(order, name) && name != "doc.go" {
			t.Errorf("%s is not in the list in doc.go", name)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
				methodIn[f.Name.Name] = name
			}
		}
		for declared := range file.Scope.Objects {
			declaredIn[declared] = name
		}
	}
	for name, file := range files {
		level := slices.Index(order, name)
		refer := func(to, what string) {
			if at := slices.Index(order, to); at >= 0 && at < level {
				t.Errorf("%s refers to %s in %s, which is above it", name, what, to)
			}
		}
		for _, id := range file.Unresolved { // not declared in this file
			refer(declaredIn[id.Name], id.Name)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				refer(methodIn[s.Sel.Name], s.Sel.Name)
			}
			return true
		})
	}
}

// sources are the files of this package without its tests, by name.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if files[name], err = parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
	}
	return files
}
