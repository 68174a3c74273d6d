// The alert rules against the code, the pages and their own tests: no rule about a metric that
// does not exist, no alert without a page, none that was never seen to fire and to be silent.
//
// That the expressions mean what they should is for promtool (Tests/Clients/test_alerts.py).

import Foundation
import Prometheus
import Testing

@testable import Hardware

/// The files of alerts/ and what they hold, as far as their fixed layout tells.
private struct RuleFiles {
    struct Rule {
        let name: String
        let text: String

        /// The expression on one line.
        var expression: String {
            let key = "        expr: "
            let lines = text.split(separator: "\n").drop { !$0.hasPrefix(key) }
            guard let first = lines.first?.dropFirst(key.count) else { return "" }
            // A folded text goes on below, indented.
            guard first == ">-" else { return String(first) }
            return lines.dropFirst().prefix { $0.hasPrefix("          ") }
                .map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: " ")
        }

        func value(of key: String) -> String? {
            text.split(separator: "\n").first { $0.hasPrefix("\(key): ") }
                .map { String($0.dropFirst(key.count + 2)) }
        }
    }

    let alerts: [Rule]
    let recordings: [Rule]
    let tests: String

    init() throws {
        let folder = try FileManager.default.contentsOfDirectory(
            atPath: Self.path("alerts").path)
        let rules = try folder.filter { $0.hasSuffix(".rules.yml") }.sorted()
            .map { try Self.text("alerts/\($0)") }
        alerts = rules.flatMap { Self.rules(in: $0, kind: "alert") }
        recordings = rules.flatMap { Self.rules(in: $0, kind: "record") }
        tests = try folder.filter { $0.hasSuffix(".test.yml") }.sorted()
            .map { try Self.text("alerts/\($0)") }.joined(separator: "\n")
    }

    static func path(_ path: String) -> URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent(path)
    }

    static func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: Self.path(path)), as: UTF8.self)
    }

    private static func rules(in text: String, kind: String) -> [Rule] {
        text.components(separatedBy: "\n      - ").dropFirst()
            .filter { $0.hasPrefix("\(kind): ") }
            .map { rule in
                let name = rule.prefix { !$0.isNewline }.dropFirst(kind.count + 2)
                return Rule(name: String(name), text: rule)
            }
    }
}

/// The names in an expression that are metrics, recorded ones included.
private func metrics(in expression: String) -> [String] {
    expression
        .split { !($0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":")) }
        .map(String.init)
        .filter { name in
            ["kinglet_", "rpi_", "instance:"].contains { name.hasPrefix($0) }
        }
}

@Suite("Alert rules")
struct AlertRuleTests {
    private let files: RuleFiles

    init() throws { files = try RuleFiles() }

    @Test("What rules ask of the machine is declared by a reading")
    func knownNames() {
        let declared = Set(
            (LatestReadings.families + allReadings().flatMap { type(of: $0).families }).map(\.name))
        let names = (files.alerts + files.recordings).flatMap { metrics(in: $0.expression) }
            .filter { name in
                ["rpi_", "kinglet_machine_", "kinglet_hardware_"].contains { name.hasPrefix($0) }
            }
        #expect(names.count > 50)
        let unknown = Set(names).subtracting(declared).sorted()
        #expect(unknown == [])
    }

    @Test("What alerts take as recorded is recorded, and what is recorded is used")
    func recordedNames() {
        let recorded = Set(files.recordings.map(\.name))
        let used = Set(
            files.alerts.flatMap { metrics(in: $0.expression) }.filter { $0.contains(":") })
        #expect(!recorded.isEmpty)
        #expect(used == recorded)
    }

    @Test("Every alert has a duration, a severity and texts")
    func complete() {
        #expect(files.alerts.count > 50)
        #expect(Set(files.alerts.map(\.name)).count == files.alerts.count)
        for alert in files.alerts {
            #expect(!alert.expression.isEmpty, "\(alert.name)")
            #expect(alert.value(of: "        for") != nil, "\(alert.name)")
            let severity = alert.value(of: "          severity")
            #expect(
                ["critical", "warning", "info", "none"].contains(severity), "\(alert.name)")
            #expect((severity == "none") == (alert.name == "Watchdog"), "\(alert.name)")
            #expect(alert.value(of: "          summary")?.isEmpty == false, "\(alert.name)")
            #expect(alert.text.contains("\n          description: "), "\(alert.name)")
        }
    }

    @Test("Every alert leads to the section of a page that has its name")
    func pages() throws {
        for alert in files.alerts {
            let link = try #require(alert.value(of: "          runbook_url"), "\(alert.name)")
            let parts = link.components(separatedBy: "#")
            #expect(parts.count == 2 && parts.last == alert.name.lowercased(), "\(link)")
            let page = try #require(parts.first)
            #expect(page.hasPrefix("firmware-notes/"), "\(link)")
            let text = try? RuleFiles.text(page)
            let hasSection = text?.contains("\n## \(alert.name)\n") == true
            #expect(hasSection, "\(page) has no section \(alert.name)")
        }
    }

    @Test("Every alert fires in a unit test, and is silent in one")
    func tests() {
        let expectations = files.tests.components(separatedBy: "alertname: ").dropFirst()
        for alert in files.alerts {
            let own = expectations.filter { rest in
                rest.prefix { !$0.isWhitespace && $0 != "," } == alert.name
            }
            #expect(own.contains { $0.contains("exp_labels: ") }, "\(alert.name) never fires")
            // The one that always fires is never silent.
            guard alert.name != "Watchdog" else { continue }
            #expect(
                own.contains { $0.contains("exp_alerts: []") }, "\(alert.name) is never silent")
        }
    }

    @Test("Expressions keep job and instance, and compare in ways that hold")
    func hygiene() {
        for rule in files.alerts + files.recordings {
            let expression = rule.expression
            // A value that was scaled on its way need not be exactly 1.
            #expect(!expression.contains("== 1"), "\(rule.name)")
            // What may be missing is no failure.
            let absent = expression.components(separatedBy: "absent").dropFirst()
            #expect(absent.allSatisfy { $0.hasPrefix("(up{") }, "\(rule.name)")
            for word in ["by", "on"] {
                for part in expression.components(separatedBy: " \(word) (").dropFirst() {
                    #expect(part.hasPrefix("job, instance"), "\(rule.name)")
                }
            }
            #expect(!expression.contains("without"), "\(rule.name)")
        }
    }

    @Test("Names that owners may have in their own configuration stay")
    func releasedNames() {
        let released: Set = [
            "RaspberryPiUndervoltage", "RaspberryPiUndervoltageOften", "RaspberryPiThrottled",
            "RaspberryPiHot", "RaspberryPiVeryHot", "KingletHardwareReadingFails", "KingletDown",
            "KingletCertificateExpiresSoon", "KingletCertificateExpires", "KingletCommitSlow",
            "KingletLoginFailures", "KingletEventLoopLag",
        ]
        #expect(released.isSubset(of: files.alerts.map(\.name)))
    }
}
