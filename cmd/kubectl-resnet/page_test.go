package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

const page, reference = "../../docs/kubectl.md", "\n## Commands\n"

// The reference in docs/kubectl.md is what --help says.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, got, ok := strings.Cut(string(text), reference)
	if !ok {
		t.Fatalf("%s has no %q", page, reference)
	}
	var want strings.Builder
	streams, _, _, _ := genericclioptions.NewTestIOStreams()
	for _, cmd := range newRoot(streams).Commands() {
		if cmd.IsAvailableCommand() && cmd.Name() != "help" && cmd.Name() != "completion" {
			describeCommand(&want, cmd)
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+reference+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want.String() {
		t.Errorf("%s is stale: go test ./cmd/kubectl-resnet -run TestPage -update writes it", page)
	}
}

// notRun says why TestDocuments does not run the examples of a command.
var notRun = map[string]string{
	"check":   "nothing runs the operator there; TestCheck and test/e2e run it",
	"init":    "it names a server that is not there; docs/photographs.md has the same with a test",
	"predict": "it needs the program trainer; TestPredict runs it",
	"watch":   "it shows jobs until Ctrl-C; TestWatchShowsLiveCurves runs it",
}

func describeCommand(b *strings.Builder, cmd *cobra.Command) {
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	mark := "test: kubectl"
	if why := notRun[cmd.Name()]; why != "" {
		mark = "not run: " + why
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n<!-- %s -->\n```sh\n%s\n```\n\n```\n%s```\n", cmd.Name(), long, mark, strings.ReplaceAll(strings.TrimSpace(cmd.Example), "\n  ", "\n"),
		cmd.LocalNonPersistentFlags().FlagUsagesWrapped(110))
}

// Every command says what it is for, and shows how.
func TestCommandsHaveExamples(t *testing.T) {
	streams, _, _, _ := genericclioptions.NewTestIOStreams()
	for _, cmd := range newRoot(streams).Commands() {
		if cmd.Short == "" || !strings.Contains(cmd.Example, "kubectl resnet "+cmd.Name()) && len(cmd.Aliases) == 0 {
			t.Errorf("%s: %q %q", cmd.Name(), cmd.Short, cmd.Example)
		}
		for line := range strings.Lines(cmd.Long) {
			if len([]rune(line)) > 121 {
				t.Errorf("%s: a line of %d characters", cmd.Name(), len(line))
			}
		}
	}
}
