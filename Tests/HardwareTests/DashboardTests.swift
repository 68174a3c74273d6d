// The dashboards and the rules against what the readings declare. Their form and limits are for
// Tests/Clients/test_dashboards.py, their queries for test_dashboard_queries.py.

import Foundation
import Prometheus
import Testing

@testable import Hardware

@Suite("Dashboards")
struct DashboardTests {
    /// The text of all files of a folder with this ending.
    private func text(_ folder: String, ending: String) throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let path = root.appendingPathComponent(folder).path
        return try FileManager.default.contentsOfDirectory(atPath: path)
            .filter { $0.hasSuffix(ending) }
            .map { try String(contentsOfFile: "\(path)/\($0)", encoding: .utf8) }
            .joined(separator: "\n")
    }

    private func names(in text: String) -> Set<String> {
        Set(
            text.split { !($0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_")) }
                .map(String.init))
    }

    @Test("What a machine can tell is shown by a panel or watched by a rule")
    func everythingIsUsed() throws {
        let used = names(
            in: try text("dashboards", ending: ".json") + text("alerts", ending: ".rules.yml"))
        let declared = (LatestReadings.families + allReadings().flatMap { type(of: $0).families })
            .map(\.name)
        #expect(declared.count > 50)
        for name in declared { #expect(used.contains(name), "\(name)") }
    }

    @Test("What panels ask of the machine is declared by a reading")
    func nothingElseIsAsked() throws {
        let declared = Set(
            (LatestReadings.families + allReadings().flatMap { type(of: $0).families })
                .map(\.name))
        let asked = names(in: try text("dashboards", ending: ".json")).filter { name in
            ["rpi_", "kinglet_machine_", "kinglet_hardware_"].contains { name.hasPrefix($0) }
        }
        #expect(asked.isSubset(of: declared), "\(asked.subtracting(declared).sorted())")
    }
}
