package uri

import (
	"strings"
	"testing"
)

func TestPublic(t *testing.T) {
	for uri, want := range map[string]string{
		"https://host/a/x.tar":                        "https://host/a/x.tar",
		"https://host/a/x.tar?X-Amz-Signature=SECRET": "https://host/a/x.tar",
		"https://host?SECRET":                         "https://host",
		"https://host/#SECRET":                        "https://host/",
		"https://me:SECRET@host:8080/a@b?x=SECRET":    "https://host:8080/a@b",
		"https://me:SECRET@SECRET@host":               "https://host",
		"HTTPS://host/x?SECRET/y":                     "HTTPS://host/x",
		"httpss://host/x?SECRET":                      "httpss://host/x", // misspelt, and shown in an error
		"https:/host/x?SECRET":                        "https:/host/x",
		"https://host/%zz?SECRET":                     "https://host/%zz",
		"s3://bucket/what?/no#1":                      "s3://bucket/what?/no#1",
		"s3://b/what?#x":                              "s3://b/what?#x",
		"https://host/a%20b/x.tar?SECRET":             "https://host/a%20b/x.tar",
		"s3://key:SECRET@bucket/x":                    "s3://bucket/x",
		"file:///data/a?b":                            "file:///data/a?b",
		"":                                            "",
		"?SECRET":                                     "",
	} {
		if got := Public(uri); got != want || strings.Contains(got, "SECRET") {
			t.Errorf("%s: got %s, want %s", uri, got, want)
		}
	}
}
