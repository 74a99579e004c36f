package contract

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes text of unknown origin fit to be shown: what a terminal would obey (ESC and other controls), what shows
// text in another order (U+202E, U+2066, …) and what is no UTF-8 is replaced by U+FFFD. Newlines and tabs stay. What the
// trainer says to a terminal, and in its termination message, goes through it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && Unprintable(r) {
			return utf8.RuneError
		}
		return r // also for what is no UTF-8, which is U+FFFD here
	}, s)
}

// Line is Printable on one line, with one space for what separates words.
func Line(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(Printable(s)), " ")
}

// Unprintable reports whether a terminal would obey a character, or show others in another order, and not show it.
func Unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}
