package policy

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

const (
	// maxMessage keeps messages well below the API's limit, and readable.
	maxMessage = 1024
	// maxLogLines and maxLog limit what of a log comes into a message.
	maxLogLines = 5
	maxLog      = 600
)

// clean makes text of unknown origin fit for a condition or an event: one line of valid text, not too long, and without
// what looks like a secret.
func clean(s string) string {
	return contract.Shorten(redact(contract.Line(s)), maxMessage)
}

// secrets are patterns of credentials; what the last group matches is replaced.
var secrets = []*regexp.Regexp{
	// https://user:password@host
	regexp.MustCompile(`://[^\s/@:]*:([^\s/@]+)@`),
	// AWS_SECRET_ACCESS_KEY=…, "password": "…", X-Amz-Signature=…, token: …
	regexp.MustCompile(`(?i)(?:secret(?:[_-]?access)?[_-]?key|session[_-]?token|security[_-]?token|` +
		`access[_-]?key(?:[_-]?id)?|password|passwd|api[_-]?key|signature|credential|auth[_-]?token|access[_-]?token)` +
		`["']?\s*[=:]\s*["']?([^\s"'&,;]+)`),
	// Authorization: Bearer …
	regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/._~=-]{8,})`),
	// AWS access key IDs
	regexp.MustCompile(`\b((?:AKIA|ASIA)[A-Z0-9]{16})\b`),
	// JSON web tokens
	regexp.MustCompile(`\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)`),
}

// redact replaces what looks like a secret. The trainer writes none into its log; this is for what others write there.
func redact(s string) string {
	for _, pattern := range secrets {
		matches := pattern.FindAllStringSubmatchIndex(s, -1)
		for _, m := range slices.Backward(matches) {
			s = s[:m[2]] + "[redacted]" + s[m[3]:]
		}
	}
	return s
}

// crashes begin the line of a log that says why a process died; stack traces follow.
var crashes = []string{"panic: ", "fatal error: ", "terminate called", "Segmentation fault", "SIGSEGV"}

// lastLines are the lines of a log that say most about its end, as one line: the first ones of a crash if there is one,
// else the last ones.
func lastLines(log string) string {
	lines := slices.DeleteFunc(strings.Split(log, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	crash := slices.IndexFunc(lines, func(line string) bool {
		return slices.ContainsFunc(crashes, func(c string) bool { return strings.HasPrefix(line, c) })
	})
	if crash >= 0 {
		lines = lines[crash:min(crash+maxLogLines, len(lines))]
	} else {
		lines = lines[max(0, len(lines)-maxLogLines):]
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	for crash < 0 && len(lines) > 1 && len(strings.Join(lines, " | ")) > maxLog {
		lines = lines[1:] // the end matters most
	}
	return contract.Shorten(strings.Join(lines, " | "), maxLog)
}

// sameButNumbers is true for messages like "0/5 nodes are available" that change with every node that comes or goes.
func sameButNumbers(a, b string) bool {
	digit := func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}
	return strings.Map(digit, a) == strings.Map(digit, b)
}
