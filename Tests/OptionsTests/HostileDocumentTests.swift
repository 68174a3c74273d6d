// Documents that are meant to harm: they are refused, in little time and without a trap.

import Glibc
import Options
import Testing

@Suite struct HostileDocumentTests {
    @Test("Nested aliases are refused before they are expanded, as values and as keys")
    func billionLaughs() {
        var yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<40 {
            let aliases = [String](repeating: "*a\(level - 1)", count: 9).joined(separator: ", ")
            yaml += "a\(level): &a\(level) [\(aliases)]\n"
        }
        let refused = "YAML aliases (*) are not used here; write the value out"
        #expect(syntaxError(yaml) == "kinglet.yaml:2: \(refused)")
        #expect(syntaxError(yaml + "{*a39: x}\n") == "kinglet.yaml:2: \(refused)")
        #expect(syntaxError("a: &a b\n*a : c") == "kinglet.yaml:2: \(refused)")
        #expect(syntaxError("a: &a b\nc:\n-*a") == "kinglet.yaml:3: \(refused)")
        #expect(syntaxError("a: &a [*a]") == "kinglet.yaml:1: \(refused)")
    }

    @Test("An ampersand and an asterisk within words are no alias")
    func words() throws {
        _ = try document("a: R&D and 2*D\nb: AT&T5*T5")
    }

    /// Ways to nest; an enumeration, so that a failure does not print a megabyte.
    enum Nesting: CaseIterable {
        case openLists, closedLists, openMappings, items, justTooDeep, indentation
        case explicitKeys

        var yaml: String {
            switch self {
            case .openLists: String(repeating: "[", count: 1_000_000)
            case .closedLists:
                "a: " + String(repeating: "[", count: 500_000)
                    + String(repeating: "]", count: 500_000)
            case .openMappings: String(repeating: "{a: ", count: 250_000)
            case .items: String(repeating: "- ", count: 500_000)
            case .justTooDeep:
                "a: " + String(repeating: "[", count: 17) + String(repeating: "]", count: 17)
            case .indentation:
                (0..<1_400).map { String(repeating: " ", count: $0) + "a:\n" }.joined()
            case .explicitKeys: String(repeating: "? ", count: 500_000)
            }
        }
    }

    @Test("Deep nesting is refused, however it is written", arguments: Nesting.allCases)
    func deep(nesting: Nesting) throws {
        let message = try #require(syntaxError(nesting.yaml))
        let isRefused =
            message.hasSuffix("nested more than 16 levels deep")
            || message.contains("\"?\" keys are not used")
        #expect(isRefused, "\(message.prefix(200))")
    }

    @Test("Nesting up to the limit is read")
    func deepest() throws {
        let lists = String(repeating: "[", count: 16) + String(repeating: "]", count: 16)
        _ = try document("a: \(lists)")
    }

    @Test("A document past 1 MiB is refused, and one just below is read")
    func long() throws {
        let line = "# " + String(repeating: "x", count: 61) + "\n"
        let comment = String(repeating: line, count: (1 << 20) / 64 - 1)
        _ = try document(comment + "domain: example.org\n")
        #expect(
            syntaxError(String(repeating: comment, count: 10))
                == "kinglet.yaml: the file is longer than 1 MiB; "
                + "a configuration is a few kilobytes; check that this is the right file")
    }

    @Test("A document of keys alone is read in one go")
    func manyKeys() throws {
        let yaml = (0..<60_000).map { "key_\($0): 1\n" }.joined()
        let options = OptionSet(try document(yaml))
        let errors = try #require(throws: ConfigurationErrors.self) { try options.finish() }
        #expect(errors.errors.count == 100)
    }

    @Test("Every beginning of a document is read or refused, never a trap")
    func truncated() throws {
        let yaml = """
            # comment
            domain: "exa\\u00e9mple.org"
            tls: {certificates: [{domains: [a, 'b'], key: c}]}
            limits:
              - ? x
              - |+
                text
              - &a *a !!str "q" @ ` %
            """
        for end in yaml.indices {
            let message = syntaxError(String(yaml[..<end]))
            #expect(message?.hasPrefix("kinglet.yaml:") ?? true)
        }
    }
}

@Suite struct ConfigurationFileTests {
    /// A file with this content for the duration of `body`.
    func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
        var template = Array("/tmp/kinglet-options-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        let path = template.withUnsafeBytes { String(decoding: $0.dropLast(), as: UTF8.self) }
        defer { unlink(path) }
        let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
        try #require(written == bytes.count)
        try body(path)
    }

    func loadError(_ file: String) -> String? {
        do {
            _ = try ConfigurationDocument.load(file: file)
            return nil
        } catch {
            return error.description
        }
    }

    @Test("A file is read, and its name is in the errors")
    func good() throws {
        try withFile(Array("limits:\n  stanza: 4KiB\n".utf8)) { path in
            let options = OptionSet(try ConfigurationDocument.load(file: path))
            let stanza = options.size(
                "limits.stanza", default: 0, in: 0...65_536, help: "Stanza.")
            #expect(stanza.value == 4_096)
        }
        try withFile(Array("a: [".utf8)) { path in
            #expect(loadError(path)?.hasPrefix("\(path):1: ") == true)
        }
    }

    @Test("A file that cannot be opened says why and what to do")
    func unreadable() throws {
        #expect(
            loadError("/nonexistent/kinglet.yaml")
                == "/nonexistent/kinglet.yaml: no such file; "
                + "kinglet init writes one, --config names another")
        #expect(loadError("/tmp") == "/tmp: this is a directory; name the file in it")
        #expect(loadError("a\0b")?.hasSuffix("no such file") == true)
        #expect(loadError("")?.contains("no such file") == true)
    }

    @Test(
        "A file that is not UTF-8 is refused with the line",
        arguments: [
            ([0x61, 0x3A, 0x20, 0x0A, 0x62, 0x3A, 0x20, 0xFF, 0x0A], ":2"),
            ([0xFF, 0xFE, 0x61, 0x00, 0x3A, 0x00], ":1"),
            ([0x61, 0x3A, 0x20, 0xC3], ":1"),
            ([0x61, 0x3A, 0x20, 0xED, 0xA0, 0x80], ":1"),
        ] as [([UInt8], String)])
    func invalidText(bytes: [UInt8], place: String) throws {
        try withFile(bytes) { path in
            #expect(
                loadError(path)
                    == "\(path)\(place): the file is not valid UTF-8; save it as UTF-8 text")
        }
    }

    @Test("A file of 10 MB is not read to its end, and an endless one is refused as well")
    func long() throws {
        let message =
            "the file is longer than 1 MiB; "
            + "a configuration is a few kilobytes; check that this is the right file"
        try withFile([UInt8](repeating: UInt8(ascii: "#"), count: 10_000_000)) { path in
            #expect(loadError(path) == "\(path): \(message)")
        }
        #expect(loadError("/dev/zero") == "/dev/zero: \(message)")
    }

    @Test("NUL bytes are refused with the line")
    func nul() throws {
        try withFile([0x61, 0x0A, 0x00]) { path in
            #expect(
                loadError(path)
                    == "\(path):2: a control character (byte 0); the file may be damaged; remove it"
            )
        }
    }
}
