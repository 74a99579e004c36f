package policy

import (
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestMessagesHoldNoSecret(t *testing.T) {
	for secret, text := range map[string]string{
		"hunter2":                      "dial http://alice:hunter2@minio:9000/x",
		"wJalrXUt/K7MDEN":              "AWS_SECRET_ACCESS_KEY=wJalrXUt/K7MDEN and so on",
		"abc123":                       `{"sessionToken": "abc123", "x": 1}`,
		"f00ba4":                       "GET https://s3/x?X-Amz-Credential=a&X-Amz-Signature=f00ba4&y=1",
		"AKIAIOSFODNN7EXAMPLE":         "key AKIAIOSFODNN7EXAMPLE is unknown",
		"s3cr3ts3cr3t":                 "Authorization: Bearer s3cr3ts3cr3t",
		"eyJhbGciOiJI.eyJzdWIiOi.c2ln": "token eyJhbGciOiJI.eyJzdWIiOi.c2ln expired",
		"pa55":                         "password: pa55",
	} {
		if got := clean(text); strings.Contains(got, secret) || !strings.Contains(got, "[redacted]") {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, text := range []string{
		"spec.storage.s3.credentialsSecret: no such key",
		"spec.storage.uri: bucket \"models\" does not exist at http://minio:9000/", "step 7: loss is NaN",
		`secret "s3" not found`, "credentials: InvalidAccessKeyId",
	} {
		if got := clean(text); got != text && !strings.HasPrefix(text, "credentials") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestMessagesAreOneShortLineOfText(t *testing.T) {
	for _, text := range []string{strings.Repeat("✗ö", 5000), "a\nb\r\n\x1b[31mc\x00", "a\u202eb\u2066c\u2028d",
		"\xff\xfe", strings.Repeat("x", 1<<20)} {
		got := clean(text)
		if len(got) > maxMessage || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x1b\x00\u202e\u2066\u2028") {
			t.Errorf("%.20q… became %d bytes: %.40q…", text, len(got), got)
		}
		if clean(got) != got {
			t.Errorf("%.20q… changes when it is cleaned again", text)
		}
	}
}

func TestTheLastLinesOfALog(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"nothing":  {"", ""},
		"one line": {"boom\n", "boom"},
		"the end":  {"1\n2\n3\n\n  4\n5\n6\n7\n", "3 | 4 | 5 | 6 | 7"},
		"a Go panic": {"epoch 1\npanic: no\n\ngoroutine 1 [running]:\nmain.f()\n\tf.go:1\nmain.g()\n\tg.go:2\n",
			"panic: no | goroutine 1 [running]: | main.f() | f.go:1 | main.g()"},
		"a C++ abort": {"x\nterminate called after throwing an instance of 'c10::Error'\n  what(): bad\n",
			"terminate called after throwing an instance of 'c10::Error' | what(): bad"},
		"long lines":  {strings.Repeat("a", 500) + "\n" + strings.Repeat("b", 500), strings.Repeat("b", 500)},
		"a long line": {strings.Repeat("a", 5000), strings.Repeat("a", maxLog-3) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lastLines(c.log); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestMessagesThatChangeInNumbersOnlyAreWrittenOnce(t *testing.T) {
	first := Decide(observed(Starting(1), Child(1), Pod(corev1.PodPending, Unschedulable("0/3 nodes are available"))),
		Now.Time)
	job := Starting(1)
	job.Status = first.Status
	second := Decide(observed(job, Child(1), Pod(corev1.PodPending, Unschedulable("0/5 nodes are available"))), Now.Time)
	if !sameButProgress(first.Status, second.Status) || len(second.Events) > 0 {
		t.Errorf("status %+v, events %v: want neither to change", second.Status, second.Events)
	}
	third := Decide(observed(job, Child(1),
		Pod(corev1.PodPending, Unschedulable("persistentvolumeclaim \"data\" not found"))), Now.Time)
	c := meta.FindStatusCondition(third.Status.Conditions, v1.ConditionProgressing)
	if !strings.Contains(c.Message, "data") {
		t.Errorf("message %q: want the new one", c.Message)
	}
}
