package main

import (
	"io"
	"os"
	"regexp"
	"testing"
)

func TestStepSaysHowLongItTookLastTime(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = write
	for range 2 {
		c.step("build a/b")()
	}
	os.Stdout = stdout
	write.Close()
	got, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^  build a/b … 0\.\d s\n  build a/b \(0\.\d s last time\) … 0\.\d s\n$`).Match(got) {
		t.Errorf("got %q", got)
	}
}
