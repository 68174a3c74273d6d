// Assignments from the command line: `--set KEY=VALUE`.

import Options
import Testing

@Suite struct OverrideTests {
    /// The options of this suite over a file and assignments: stanza, domains, or a complaint.
    func outcome(_ yaml: String, _ assignments: String...) throws -> String {
        var document = try document(yaml)
        do {
            for assignment in assignments { try document.override(assignment) }
        } catch {
            return error.description
        }
        let options = OptionSet(document)
        let stanza = options.size(
            "limits.stanza", default: 2_048, in: 1_024...(16 << 20), help: "Stanza.")
        let domains = options.list("domains", default: [], help: "Domains.")
        let motto = options.text("motto", default: "", help: "Motto.")
        return complaint(options) ?? "\(stanza.value) \(domains.value) \(motto.value)"
    }

    @Test("An assignment wins over the file, and the last one over the others")
    func wins() throws {
        #expect(try outcome("", "limits.stanza=4KiB") == "4096 [] ")
        #expect(try outcome("limits: {stanza: 8KiB}", "limits.stanza=4KiB") == "4096 [] ")
        #expect(try outcome("limits:", "limits.stanza=4KiB") == "4096 [] ")
        #expect(try outcome("", "limits.stanza=4KiB", "limits.stanza=1KiB") == "1024 [] ")
    }

    @Test("A value is a list in brackets, a quoted text, or the text as it stands")
    func values() throws {
        #expect(
            try outcome("", "domains=[a.example, \"b.example\"]")
                == "2048 [\"a.example\", \"b.example\"] ")
        #expect(try outcome("", "domains=a.example") == "2048 [\"a.example\"] ")
        #expect(try outcome("", "domains=[a]") == "2048 [\"a\"] ")
        #expect(try outcome("", "motto=\"a\\tb\"") == "2048 [] a\tb")
        #expect(try outcome("", "motto='~'") == "2048 [] ~")
        #expect(try outcome("", "motto=*all* & more: # =3") == "2048 [] *all* & more: # =3")
    }

    @Test("An empty value brings back the default", arguments: ["", "~", "null"])
    func unset(value: String) throws {
        #expect(try outcome("limits: {stanza: 8KiB}", "limits.stanza=\(value)") == "2048 [] ")
    }

    @Test("A list of records works, too")
    func records() throws {
        var document = try document("")
        try document.override("tls.certificates=[{certificate: a.pem, key: a.key}]")
        let options = OptionSet(document)
        let records = options.records(
            "tls.certificates",
            fields: [
                RecordField(name: "certificate", help: "."), RecordField(name: "key", help: "."),
            ], help: "Certificates.")
        try options.finish()
        #expect(records.value.first?.string("key") == "a.key")
        #expect(records.value.first?.line == nil)
    }

    @Test(
        "Errors name the argument instead of a line",
        arguments: [
            (
                "limits.stanza=many",
                "--set limits.stanza: expected a size between 1KiB and 16MiB, such as 2KiB; "
                    + "found \"many\""
            ),
            ("limits.stanzza=1", "--set limits.stanzza: unknown key; did you mean limits.stanza?"),
            (
                "domains=[a, [b]]",
                "--set domains: item 2: expected one text; found a list"
            ),
            ("domains=[a", "--set domains: a list in [ ] is not closed or lacks a comma"),
            ("motto=\"a", "--set motto: a quoted text is not closed; add the missing quote"),
            (
                "domains=[&a b, *a]",
                "--set domains: YAML aliases (*) are not used here; write the value out"
            ),
            (
                "limits={stanza: 1KiB}",
                "--set limits: expected one value or a list; found a group of keys; "
                    + "use one --set for each key"
            ),
            (
                "limits=5",
                "--set limits: expected keys below it, such as limits.stanza; "
                    + "found a value that is not shown"
            ),
            (
                "limits.stanza",
                "--set: expected KEY=VALUE, such as limits.stanza=512KiB; found \"limits.stanza\""
            ),
            ("=5", "--set: expected KEY=VALUE, such as limits.stanza=512KiB; found \"\""),
            ("a..b=5", "--set: expected KEY=VALUE, such as limits.stanza=512KiB; found \"a..b\""),
            (
                "a.b.c.d=5",
                "--set: expected KEY=VALUE, such as limits.stanza=512KiB; found \"a.b.c.d\""
            ),
        ])
    func errors(assignment: String, message: String) throws {
        #expect(try outcome("", assignment) == message)
    }

    @Test("An assignment does not hide a mistake in the file above it")
    func scalarAbove() throws {
        #expect(
            try outcome("\nlimits: 5", "limits.stanza=1KiB")
                == "--set limits.stanza: the key above it already has a value of its own "
                + "at kinglet.yaml:2")
    }
}
