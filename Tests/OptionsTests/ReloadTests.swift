// Reload: all or nothing, what is reported, and who is told.

import Options
import Synchronization
import Testing

/// Three options that reload and one that does not.
private struct Program {
    let options: OptionSet
    let stanza: Setting<Int>
    let domains: Setting<[String]>
    let token: Setting<String>
    let port: Setting<Int>

    init(_ yaml: String) throws {
        options = OptionSet(try document(yaml))
        stanza = options.size(
            "limits.stanza", default: 2_048, in: 1_024...65_536, reloadable: true, help: "Stanza.")
        domains = options.list("domains", default: [], reloadable: true, help: "Domains.")
        token = options.text("token", default: "", reloadable: true, secret: true, help: "Token.")
        port = options.integer("port", default: 5_222, in: 0...65_535, help: "Port.")
        try options.finish()
    }

    func reload(_ yaml: String) throws -> ReloadReport {
        try options.reload(try document(yaml))
    }
}

@Suite struct ReloadTests {
    @Test("Reloadable settings change; the others are reported as waiting for a restart")
    func reload() throws {
        let program = try Program("limits: {stanza: 4KiB}\nport: 5000")
        let report = try program.reload("limits: {stanza: 8KiB}\nport: 6000\ndomains: [a, b]")
        #expect(program.stanza.value == 8_192)
        #expect(program.domains.value == ["a", "b"])
        #expect(program.port.value == 5_000)
        #expect(report.applied == ["limits.stanza", "domains"])
        #expect(report.needRestart == ["port"])
        #expect(
            report.description == """
                limits.stanza: 4KiB -> 8KiB
                domains: [] -> [a, b]
                port: 5000 -> 6000 (needs a restart)
                """)
    }

    @Test("An option that is no longer set goes back to its default")
    func backToDefault() throws {
        let program = try Program("limits: {stanza: 4KiB}")
        #expect(try program.reload("").applied == ["limits.stanza"])
        #expect(program.stanza.value == 2_048)
    }

    @Test("Lists of records are judged together, at the start and at each reload")
    func judged() throws {
        let fields = [RecordField(name: "name", required: true, help: "Its name.")]
        func set(_ yaml: String) throws -> (OptionSet, Setting<[ConfigurationRecord]>) {
            let options = OptionSet(try document(yaml))
            let dogs = options.records("dogs", fields: fields, reloadable: true, help: "Dogs.")
            _ = options.records("cats", fields: fields, reloadable: true, help: "Cats.")
            options.judgeRecords(["dogs", "cats"]) { records in
                let cats = Set((records["cats"] ?? []).compactMap { $0.string("name") })
                return (records["dogs"] ?? []).filter { cats.contains($0.string("name") ?? "") }
                    .map { RecordProblem(key: "dogs", line: $0.line, "it is a cat", advice: "ask") }
            }
            return (options, dogs)
        }
        let wrong = "cats: [{name: tom}]\ndogs:\n  - name: rex\n  - name: tom"
        let error = #expect(throws: ConfigurationErrors.self) { try set(wrong).0.finish() }
        let text = error?.description ?? ""
        #expect(text.contains("kinglet.yaml:4: ") && text.contains("it is a cat"), "\(text)")

        let (options, dogs) = try set("dogs: [{name: rex}]")
        try options.finish()
        #expect(throws: ConfigurationErrors.self) { try options.reload(try document(wrong)) }
        #expect(dogs.value.map { $0.string("name") } == ["rex"])
        // One list that cannot be read is empty for the judge, and reported by itself.
        #expect(throws: ConfigurationErrors.self) {
            try set("cats: 7\ndogs: [{name: a}]").0.finish()
        }
    }

    @Test("The same values in other words are no change")
    func noChange() throws {
        let program = try Program("limits: {stanza: 4KiB}\ndomains: a")
        let report = try program.reload("# moved\ndomains: [\"a\"]\nlimits:\n  stanza: 4096")
        #expect(report.changes == [])
        #expect(report.description == "nothing changed")
    }

    @Test("What waits for a restart is compared with the value in force, not with the last file")
    func restartPending() throws {
        let program = try Program("port: 1")
        #expect(try program.reload("port: 2").needRestart == ["port"])
        #expect(try program.reload("port: 2").needRestart == ["port"])
        #expect(try program.reload("port: 1").needRestart == [])
    }

    @Test("When anything is wrong, nothing changes and everything wrong is reported")
    func allOrNothing() throws {
        let program = try Program("limits: {stanza: 4KiB}")
        let calls = Mutex(0)
        program.stanza.onChange { _ in calls.withLock { $0 += 1 } }
        let errors = try #require(throws: ConfigurationErrors.self) {
            try program.reload(
                "limits: {stanza: 8KiB}\ndomains: {a: b}\nport: x\ntoken: [t]\ncolour: red")
        }
        #expect(
            errors.description == """
                kinglet.yaml:2: domains: expected a list of texts; found a group of keys
                kinglet.yaml:3: port: expected a whole number between 0 and 65535; found "x"
                kinglet.yaml:4: token: expected one text; found a list
                kinglet.yaml:5: colour: unknown key; kinglet config --reference lists all keys
                """)
        #expect(program.stanza.value == 4_096)
        #expect(calls.withLock { $0 } == 0)
        #expect(try program.reload("limits: {stanza: 8KiB}").applied == ["limits.stanza"])
    }

    @Test("Observers hear of changes only, after all settings have changed")
    func observers() throws {
        let program = try Program("")
        let heard = Mutex<[String]>([])
        program.stanza.onChange { [domains = program.domains] value in
            heard.withLock { $0.append("\(value) \(domains.value)") }
        }
        program.stanza.onChange { [options = program.options] _ in
            heard.withLock { $0.append("\(options.declared.count) options") }
        }
        _ = try program.reload("domains: [a]")
        #expect(heard.withLock { $0 } == [])
        _ = try program.reload("limits: {stanza: 8KiB}\ndomains: [b]")
        #expect(heard.withLock { $0 } == ["8192 [\"b\"]", "4 options"])
    }

    @Test("The value of a secret is not in the report, but that it changed is")
    func secret() throws {
        let program = try Program("token: hunter2")
        let report = try program.reload("token: hunter3")
        #expect(program.token.value == "hunter3")
        #expect(report.description == "token: (secret) -> (secret)")
        #expect(!"\(report.changes)".contains("hunter"))
    }

    @Test("Records are reported by their number")
    func records() throws {
        let options = OptionSet(.empty)
        let rules = options.records(
            "rules", fields: [RecordField(name: "name", help: "Name.")], reloadable: true,
            help: "Rules.")
        let report = try options.reload(try document("rules: [{name: a}, {name: b}]"))
        #expect(rules.value.map { $0.string("name") } == ["a", "b"])
        #expect(report.description == "rules: [] -> 2 entries")
    }

    @Test("A setting without a configuration has the value it was made with")
    func fixed() {
        #expect(Setting(5).value == 5)
    }

    @Test("Settings may be read on other threads while reloads run")
    func concurrency() async throws {
        let program = try Program("")
        let allowed: Set<Int> = [2_048, 4_096, 8_192]
        let small = try document("limits: {stanza: 4KiB}")
        let large = try document("limits: {stanza: 8KiB}")
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    (0..<2_000).allSatisfy { _ in allowed.contains(program.stanza.value) }
                }
                group.addTask {
                    for document in [small, large, small, large] {
                        _ = try program.options.reload(document)
                    }
                    return true
                }
            }
            for try await fine in group { #expect(fine) }
        }
        #expect(allowed.contains(program.stanza.value))
    }
}
