// What an operator reads when the file is no YAML, or YAML that is refused.

import Options
import Testing

@Suite struct SyntaxTests {
    @Test(
        "A syntax error names its line and says what to change",
        arguments: [
            ("a: 1\n\tb: 2", "2: a tab where YAML allows only spaces; indent with spaces"),
            ("a:\n\tb: 2", "2: a tab where YAML allows only spaces; indent with spaces"),
            (
                "a: 1\nb: c: d",
                "2: a colon where no key can stand; "
                    + "put a value that contains \": \" in quotes, or correct the indentation"
            ),
            (
                "a:\n  b: 1\n   c: 2",
                "3: a colon where no key can stand; "
                    + "put a value that contains \": \" in quotes, or correct the indentation"
            ),
            (
                "a:\n    b: 1\n  c: 2",
                "3: this does not fit what stands above it; "
                    + "align it with the keys or items above; quote a text as a whole or not at all"
            ),
            (
                "a: \"b\" c",
                "1: this does not fit what stands above it; "
                    + "align it with the keys or items above; quote a text as a whole or not at all"
            ),
            ("a: 1\nb\nc: 2", "2: expected a key with a colon, such as \"domain: \""),
            ("a: 1\nb: \"c\n\n", "2: a quoted text is not closed; add the missing quote"),
            ("a: 1\nb: 'c\n\n", "2: a quoted text is not closed; add the missing quote"),
            ("a: [b,\n  c\nd: e", "1: a list in [ ] is not closed or lacks a comma"),
            ("a: {b: c\nd: e", "1: a group of keys in { } is not closed or lacks a comma"),
            ("a: *b", "1: a value cannot begin with \"*\" in YAML; put the value in quotes"),
            (
                "a: *.b.example",
                "1: a value cannot begin with \"*\" in YAML; put the value in quotes"
            ),
            ("a: @b", "1: a value cannot begin with \"@\" in YAML; put the value in quotes"),
            ("a: `b`", "1: a value cannot begin with \"`\" in YAML; put the value in quotes"),
            ("a: %b", "1: a value cannot begin with \"%\" in YAML; put the value in quotes"),
            (
                "a: &b c",
                "1: a: YAML anchors (&) are not used here; "
                    + "put a value that begins with \"&\" in quotes"
            ),
            (
                "a: !b c",
                "1: a: YAML tags (!) are not used here; "
                    + "put a value that begins with \"!\" in quotes"
            ),
            (
                "a:\n  b: !!binary aGk=",
                "2: a.b: YAML tags (!) are not used here; "
                    + "put a value that begins with \"!\" in quotes"
            ),
            (
                "a: \"C:\\path\"",
                "1: an unknown escape in a text in double quotes; "
                    + "write \\\\ for a backslash, or use single quotes"
            ),
            ("a: 1\n---\nb: 2", "2: a second document begins here; remove the line \"---\""),
            (
                "a: 1\na: 2",
                "2: a: set twice, first at line 1; remove one, or join what is below them"
            ),
            (
                "a:\n  b: 1\nc:\n  b: 3\n  d: 4\n  \"b\": 5",
                "6: b: set twice, first at line 4; remove one, or join what is below them"
            ),
            (
                "a: {b: 1, b: 2}",
                "1: b: set twice, first at line 1; remove one, or join what is below them"
            ),
            (
                "? a\n: b",
                "1: YAML's \"?\" keys are not used here; "
                    + "put a value that begins with \"?\" in quotes"
            ),
            ("[a]: b", "1: a key must be a plain word"),
            ("hunter2", "1: expected keys such as \"domain: example.org\"; found a single value"),
            ("- a\n- b", "1: expected keys such as \"domain: example.org\"; found a list"),
            ("a: }", "1: expected a value"),
            ("a: {b:}", "1: a colon without a space behind it; add the space"),
            (
                "a: >10 MB",
                "1: text behind a \"|\" or \">\" that begins a value; put the value in quotes"
            ),
            (
                "{a: b}\nc: d",
                "2: this does not belong to what stands above it; "
                    + "correct the brackets or the indentation"
            ),
            ("a: [", "1: expected a value"),
            ("a: [\n", "1: expected a value"),
            ("a: b\u{7}", "1: a control character (byte 7); the file may be damaged; remove it"),
            ("\na: b\u{0}", "2: a control character (byte 0); the file may be damaged; remove it"),
            ("a: 1\nb: c\u{84}", "2: a character that YAML does not allow; remove it"),
        ])
    func messages(yaml: String, message: String) {
        #expect(syntaxError(yaml) == "kinglet.yaml:\(message)")
    }

    @Test("Everything refused in the tree is reported at once")
    func several() {
        #expect(
            syntaxError("a: &b c\nd:\n  e: !f g\n  h: {[i]: j}") == """
                kinglet.yaml:1: a: YAML anchors (&) are not used here; put a value that begins \
                with "&" in quotes
                kinglet.yaml:3: d.e: YAML tags (!) are not used here; put a value that begins \
                with "!" in quotes
                kinglet.yaml:4: d.h: a key must be a plain word
                """)
    }
}
