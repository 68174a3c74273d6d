// Unknown keys, sections, the collection and order of errors, and checks across options.

import Options
import Testing

@Suite struct OptionSetTests {
    /// A small program's worth of options over a document.
    static func options(_ document: ConfigurationDocument) -> OptionSet {
        let options = OptionSet(document)
        _ = options.text("domain", default: "localhost", help: "Domain.")
        _ = options.text("data_dir", default: "./data", help: "Data.")
        _ = options.size(
            "limits.stanza", default: 256 << 10, in: (1 << 10)...(16 << 20), help: "Stanza.")
        _ = options.integer("limits.sessions", default: 10, in: 1...100, help: "Sessions.")
        _ = options.size(
            "web.uploads.largest", default: 1 << 20, in: 0...(1 << 30), help: "Largest.")
        return options
    }

    func complaint(_ yaml: String) throws -> String? {
        OptionsTests.complaint(Self.options(try document(yaml)))
    }

    @Test(
        "An empty document, empty sections and known keys are fine",
        arguments: [
            "", "---", "# nothing", "limits:", "limits: ~\nweb:\n  uploads:", "{}",
            "domain: example.org\nlimits: {stanza: 1MiB}", "\u{FEFF}domain: example.org",
            "domain: example.org\r\nlimits:\r\n  stanza: 1MiB\r\n",
        ])
    func fine(yaml: String) throws {
        #expect(try complaint(yaml) == nil)
    }

    @Test("The documented example reads as documented")
    func example() throws {
        let yaml = String(repeating: "\n", count: 10) + "limits:\n  stanza: many"
        #expect(
            try complaint(yaml)
                == "kinglet.yaml:12: limits.stanza: expected a size between 1KiB and 16MiB, "
                + "such as 256KiB; found \"many\"")
    }

    @Test(
        "An unknown key is refused with the nearest known one",
        arguments: [
            ("domian: a", "domian", "did you mean domain?"),
            ("data-dir: a", "data-dir", "did you mean data_dir?"),
            ("limtis: {stanza: 1}", "limtis", "did you mean limits?"),
            ("limits: {stanzza: 1}", "limits.stanzza", "did you mean limits.stanza?"),
            ("limits: {session: ~}", "limits.session", "did you mean limits.sessions?"),
            ("stanza: 1", "stanza", "did you mean limits.stanza?"),
            ("limits: {largest: 1}", "limits.largest", "did you mean web.uploads.largest?"),
            ("web: {upload: {largest: 1}}", "web.upload", "did you mean web.uploads?"),
            ("limits.stanza: 1", "limits.stanza", "write \"stanza:\" indented below \"limits:\""),
            ("colour: red", "colour", "kinglet config --reference lists all keys"),
            ("<<: {domain: a}", "<<", "kinglet config --reference lists all keys"),
            ("\"\": a", "", "kinglet config --reference lists all keys"),
        ])
    func unknown(yaml: String, key: String, advice: String) throws {
        let place = key.isEmpty ? "" : "\(key): "
        #expect(try complaint(yaml) == "kinglet.yaml:1: \(place)unknown key; \(advice)")
    }

    @Test("A value where a section belongs is refused, and is not repeated")
    func scalarAsSection() throws {
        #expect(
            try complaint("limits: hunter2\nweb:\n- a")
                == """
                kinglet.yaml:1: limits: expected keys below it, such as limits.stanza; \
                found a value that is not shown
                kinglet.yaml:2: web: expected keys below it, such as web.uploads.largest; \
                found a list
                """)
    }

    @Test("All errors are reported at once, in file order, the command line's last")
    func order() throws {
        var document = try document(
            """
            web: {uploads: {largest: huge}}
            colour: red
            limits:
              sessions: 0
              stanza: many
            domain: [a]
            """)
        try document.override("data_dir=[b]")
        let options = Self.options(document)
        options.problem(key: "domain", "not reachable", advice: "choose another")
        options.problem(key: "limits.memory", "not enough memory")
        options.problem(key: "limits.stanza", "too small for this", line: 3)
        #expect(
            OptionsTests.complaint(options) == """
                kinglet.yaml:1: web.uploads.largest: expected a size between 0 and 1GiB, \
                such as 1MiB; found "huge"
                kinglet.yaml:2: colour: unknown key; kinglet config --reference lists all keys
                kinglet.yaml:3: limits.stanza: too small for this
                kinglet.yaml:4: limits.sessions: expected a whole number between 1 and 100; \
                found "0"
                kinglet.yaml:5: limits.stanza: expected a size between 1KiB and 16MiB, \
                such as 256KiB; found "many"
                kinglet.yaml:6: domain: expected one text; found a list
                kinglet.yaml:6: domain: not reachable; choose another
                kinglet.yaml: limits.memory: not enough memory
                --set data_dir: expected one text; found a list
                """)
    }

    @Test("At most 20 errors are shown and at most 100 unknown keys are collected")
    func many() throws {
        let yaml = (0..<200).map { "unknown_key_\($0):" }.joined(separator: "\n")
        let options = Self.options(try document(yaml))
        let errors = try #require(throws: ConfigurationErrors.self) { try options.finish() }
        #expect(errors.errors.count == 100)
        let lines = errors.description.split(separator: "\n")
        #expect(lines.count == 21)
        #expect(lines.last == "and 80 more")
    }

    @Test("While something is wrong the setting has its default")
    func defaultMeanwhile() throws {
        let options = OptionSet(try document("count: many"))
        let count = options.integer("count", default: 3, in: 0...9, help: "Count.")
        #expect(count.value == 3)
        #expect(throws: ConfigurationErrors.self) { try options.finish() }
    }

    @Test("The parts of an error can be read one by one")
    func parts() throws {
        let options = Self.options(try document("\nlimtis:"))
        let errors = try #require(throws: ConfigurationErrors.self) { try options.finish() }
        #expect(
            errors.errors == [
                ConfigurationError(
                    file: "kinglet.yaml", line: 2, key: "limtis", problem: "unknown key",
                    advice: "did you mean limits?")
            ])
    }

    @Test("Declared options can be listed with type, default, bounds and help")
    func declared() throws {
        let options = Self.options(.empty)
        _ = options.text("token", default: "s3cret", reloadable: true, secret: true, help: "Token.")
        let stanza = try #require(options.declared.first { $0.key == "limits.stanza" })
        #expect(stanza.type == "size")
        #expect(stanza.defaultText == "256KiB")
        #expect(stanza.bounds == "1KiB to 16MiB")
        #expect(stanza.help == "Stanza.")
        #expect(!stanza.reloadable)
        let token = try #require(options.declared.last)
        #expect(token.key == "token")
        #expect(token.defaultText == "")
        #expect(token.reloadable && token.secret)
        #expect(options.declared.count == 6)
    }

    @Test("Declaring the same key twice is an error of the program")
    func declaredTwice() async {
        await #expect(processExitsWith: .failure) {
            let options = OptionSet(.empty)
            _ = options.boolean("flag", default: true, help: "Flag.")
            _ = options.boolean("flag", default: true, help: "Flag.")
        }
    }

    @Test("An option cannot be a section at the same time")
    func optionAndSection() async {
        await #expect(processExitsWith: .failure) {
            let options = OptionSet(.empty)
            _ = options.boolean("log.level", default: true, help: "Flag.")
            _ = options.boolean("log", default: true, help: "Flag.")
        }
    }

    @Test("A default out of its own bounds is an error of the program")
    func badDefault() async {
        await #expect(processExitsWith: .failure) {
            _ = OptionSet(.empty).integer("count", default: 10, in: 0...9, help: "Count.")
        }
    }
}
