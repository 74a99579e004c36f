package contract

import "testing"

func TestTextIsMadePrintable(t *testing.T) {
	for text, want := range map[string]struct{ printable, line string }{
		"":                              {"", ""},
		"spec.image: an image\n\tñ 猫 😀": {"spec.image: an image\n\tñ 猫 😀", "spec.image: an image ñ 猫 😀"},
		"\x1b[2J\x1b]0;x\x07":           {"�[2J�]0;x�", "�[2J�]0;x�"},
		"a\u202egnp.exe":                {"a�gnp.exe", "a�gnp.exe"},
		"a\u2066b\u2069":                {"a�b�", "a�b�"},
		"a\u200cb":                      {"a\u200cb", "a\u200cb"}, // Persian needs it
		"caf\xe9":                       {"caf�", "caf�"},
		"one\r\ntwo\u2028three":         {"one�\ntwo�three", "one two three"},
		"\u009b31m":                     {"�31m", "�31m"},
	} {
		if got := Printable(text); got != want.printable {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want.printable)
		}
		if got := Line(text); got != want.line {
			t.Errorf("Line(%q) = %q, want %q", text, got, want.line)
		}
	}
}
