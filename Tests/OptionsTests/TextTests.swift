// Texts, lists of texts, choices, and that secrets stay secret.

import Options
import Testing

enum Policy: String, CaseIterable, Sendable {
    case off, allowlist, open
}

@Suite struct TextTests {
    @Test(
        "A text is what was written, whatever YAML would take it for",
        arguments: [
            ("yes", "yes"), ("off", "off"), ("1.10", "1.10"), ("2026-11-20", "2026-11-20"),
            ("0600", "0600"), ("\"~\"", "~"), ("'null'", "null"), ("\"\"", ""), ("a b", "a b"),
            ("\"*.example.org\"", "*.example.org"), ("R&D *stars*", "R&D *stars*"),
            ("\"&a\"", "&a"), ("Ça va ? Oui", "Ça va ? Oui"), ("<<", "<<"), ("=", "="),
        ])
    func texts(text: String, expected: String) throws {
        let result = try read("name: \(text)") { $0.text("name", default: "-", help: "Name.") }
        #expect(result.value == expected)
    }

    @Test("Text that is too long, has control characters, or is no text is refused")
    func notTexts() throws {
        func message(_ yaml: String) throws -> String? {
            try read("name: \(yaml)") {
                $0.text("name", default: "", maximumLength: 8, help: "Name.")
            }.message
        }
        #expect(try message("12345678") == nil)
        #expect(
            try message("äöüäö")
                == "kinglet.yaml:1: name: expected at most 8 bytes of text; found 10 bytes")
        #expect(
            try message(#""a\0b""#)
                == #"kinglet.yaml:1: name: expected text without control characters; "#
                + #"found "a\u{0}b""#)
        #expect(
            try message("[a, b]") == "kinglet.yaml:1: name: expected one text; found a list")
        #expect(
            try message("\n  a: b")
                == "kinglet.yaml:1: name: expected one text; found a group of keys")
    }

    @Test("A message repeats at most 60 characters, on one line, without direction overrides")
    func printable() throws {
        func message(_ value: String) throws -> String? {
            try read("flag: \(value)") { $0.boolean("flag", default: true, help: "Flag.") }.message
        }
        let start = "kinglet.yaml:1: flag: expected true or false; found "
        let long = String(repeating: "x", count: 100)
        #expect(try message(long) == "\(start)\"\(long.prefix(60))…\"")
        #expect(try message(#""a\nb\t\"\\c\e""#) == start + #""a\nb\t\"\\c\u{1b}""#)
        #expect(try message("a\u{202E}b") == start + #""a\u{202e}b""#)
    }

    @Test("A check of the declaration speaks with its own words")
    func check() throws {
        func result(_ yaml: String) throws -> Result<String, ConfigurationErrors> {
            try read(yaml) {
                $0.text(
                    "domain", default: "localhost",
                    check: { $0.contains(" ") ? "expected a domain name" : nil }, help: "Domain.")
            }
        }
        #expect(try result("domain: example.org").value == "example.org")
        #expect(
            try result("domain: my house").message
                == "kinglet.yaml:1: domain: expected a domain name; found \"my house\"")
    }

    @Test("An optional text is nil until it is set")
    func optionalText() throws {
        func value(_ yaml: String) throws -> String?? {
            try read(yaml) { $0.optionalText("log.file", help: "File.") }.value
        }
        #expect(try value("") == .some(nil))
        #expect(try value("log:") == .some(nil))
        #expect(try value("log: {file: ~}") == .some(nil))
        #expect(try value("log: {file: a}") == "a")
        #expect(try value("log: {file: \"\"}") == "")
    }

    @Test(
        "A list takes items or a single text",
        arguments: [
            ("[a.example, b.example]", ["a.example", "b.example"]),
            ("\n  - a.example\n  - 'no'", ["a.example", "no"]),
            ("\n- a.example", ["a.example"]),
            ("a.example", ["a.example"]),
            ("[]", []),
            ("~", ["localhost"]),
        ])
    func lists(yaml: String, expected: [String]) throws {
        let result = try read("domains: \(yaml)") {
            $0.list("domains", default: ["localhost"], help: "Domains.")
        }
        #expect(result.value == expected)
    }

    @Test("Every bad item of a list is reported with its number and line")
    func badItems() throws {
        let result = try read(
            """
            domains:
              - good
              - two words
              -
              - [nested]
            """
        ) {
            $0.list(
                "domains", default: [],
                check: { $0.contains(" ") ? "expected a domain name" : nil }, help: "Domains.")
        }
        #expect(
            result.message == """
                kinglet.yaml:3: domains: item 2: expected a domain name; found "two words"
                kinglet.yaml:4: domains: item 3: expected one text; found nothing
                kinglet.yaml:5: domains: item 4: expected one text; found a list
                """)
    }

    @Test("A list has a greatest length, and is not a group of keys")
    func badLists() throws {
        func message(_ yaml: String) throws -> String? {
            try read(yaml) {
                $0.list("domains", default: [], maximumCount: 2, help: "Domains.")
            }.message
        }
        #expect(try message("domains: [a, b]") == nil)
        #expect(
            try message("domains: [a, b, c]")
                == "kinglet.yaml:1: domains: expected at most 2 items; found 3")
        #expect(
            try message("domains: {a: b}")
                == "kinglet.yaml:1: domains: expected a list of texts; found a group of keys")
    }

    @Test("A choice takes its names exactly, YAML's words included, and suggests the nearest")
    func choices() throws {
        func result(_ yaml: String) throws -> Result<Policy, ConfigurationErrors> {
            try read("federation:\n  policy: \(yaml)") {
                $0.choice("federation.policy", default: Policy.allowlist, help: "Policy.")
            }
        }
        #expect(try result("off").value == .off)
        #expect(try result("open").value == .open)
        #expect(try result("").value == .allowlist)
        let start = "kinglet.yaml:2: federation.policy: expected off, allowlist or open; found "
        #expect(try result("opne").message == start + "\"opne\"; did you mean open?")
        #expect(try result("Off").message == start + "\"Off\"; did you mean off?")
        #expect(try result("closed").message == start + "\"closed\"")
        #expect(try result("[off]").message == start + "a list")
    }

    @Test("The value of a secret is in no message")
    func secrets() throws {
        func message(_ yaml: String) throws -> String? {
            try read(yaml) {
                $0.optionalText(
                    "push.token", maximumLength: 20,
                    check: { _ in "expected 32 characters" }, secret: true, help: "Token.")
            }.message
        }
        #expect(
            try message("push: {token: hunter2}")
                == "kinglet.yaml:1: push.token: expected 32 characters; "
                + "found a value that is not shown")
        #expect(
            try message(#"push: {token: "hunter2\e"}"#)
                == "kinglet.yaml:1: push.token: expected text without control characters; "
                + "found a value that is not shown")
        #expect(
            try message("push: {token: hunter2hunter2hunter2}")
                == "kinglet.yaml:1: push.token: expected at most 20 bytes of text; found 21 bytes")
    }
}
