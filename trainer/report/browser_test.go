package report

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dom is what a page has become in the browser $CHROMIUM: `make test-browser`.
func dom(t *testing.T, page string) string {
	t.Helper()
	browser := os.Getenv("CHROMIUM")
	if browser == "" {
		t.Skip("CHROMIUM is not set: use make test-browser")
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--dump-dom", "file://"+path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	return string(out)
}

// TestPageInBrowser: its script runs, and no other, whoever has written it into the page.
func TestPageInBrowser(t *testing.T) {
	page := string(pageOf(t, sample(t)))
	foreign := strings.Replace(page, "</body>", "<script>document.title = 'foreign'</script></body>", 1)
	got := dom(t, foreign)
	if strings.Contains(got, "<title>foreign</title>") {
		t.Error("a foreign script has run")
	}
	if n := strings.Count(got, `class="plain copy"`); n != strings.Count(page, `<div class="code">`) {
		t.Errorf("%d copy buttons", n)
	}
}

// TestPointerAndCells: the curves show their values, and a number of the confusion matrix opens its images.
func TestPointerAndCells(t *testing.T) {
	page := regexp.MustCompile(`<meta http-equiv[^>]*>`).ReplaceAllString(string(pageOf(t, sample(t))), "")
	got := dom(t, strings.Replace(page, "</body>", `<script>
		const svg = document.querySelector("svg[data-curves]"), area = svg.getBoundingClientRect();
		svg.dispatchEvent(new PointerEvent("pointermove", {clientX: area.left + area.width / 2, clientY: area.top + 9}));
		const button = document.querySelector(".matrix button");
		button.click();
		document.title = [document.querySelector(".pointer").textContent,
			document.querySelector("[popover]:popover-open").id === button.getAttribute("popovertarget"),
			document.querySelectorAll("[popover]:popover-open li").length > 0].join("; ");
	</script></body>`, 1))
	title := regexp.MustCompile(`<title>(.*)</title>`).FindStringSubmatch(got)[1]
	if !regexp.MustCompile(`^step \d+train, by step 0\.\d{4}train 0\.\d{4} at step \d+.*; true; true$`).MatchString(title) {
		t.Errorf("%q", title)
	}
}
