// The dashboard against what the program exports: no panel of a metric that does not exist.

import Foundation
import Prometheus
import Testing

@testable import Hardware

/// The parts of Grafana's model that are checked.
private struct Dashboard: Decodable {
    struct Source: Decodable, Equatable {
        let type: String
        let uid: String
    }
    struct Target: Decodable {
        let refId: String
        let expr: String
        let datasource: Source
    }
    struct Position: Decodable {
        let x: Int
        let y: Int
        let w: Int
        let h: Int

        func overlaps(_ other: Position) -> Bool {
            x < other.x + other.w && other.x < x + w && y < other.y + other.h && other.y < y + h
        }
    }
    struct Defaults: Decodable { let unit: String }
    struct FieldConfig: Decodable { let defaults: Defaults }
    struct Panel: Decodable {
        let id: Int
        let type: String
        let title: String
        let description: String?
        let gridPos: Position
        let datasource: Source?
        let targets: [Target]?
        let fieldConfig: FieldConfig?
    }
    struct Variable: Decodable {
        let name: String
        let type: String
        let datasource: Source?
    }
    struct Templating: Decodable { let list: [Variable] }

    let uid: String
    let templating: Templating
    let panels: [Panel]
}

private enum Repository {
    static func contents(_ path: String) throws -> Data {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return try Data(contentsOf: root.appendingPathComponent(path))
    }

    static func dashboard() throws -> Dashboard {
        try JSONDecoder().decode(Dashboard.self, from: contents("dashboards/kinglet.json"))
    }
}

/// The metrics that dashboards may use: this target's by its declarations, the engine's
/// by their fixed names.
private let knownMetrics: Set<String> = Set(
    (LatestReadings.families + allReadings().flatMap { type(of: $0).families }).map(\.name)
        + [
            "up", "kinglet_build_info", "kinglet_connections", "kinglet_logins_total",
            "kinglet_stanzas_total", "kinglet_offline_messages", "kinglet_refusals_total",
            "kinglet_certificate_expiry_timestamp_seconds", "kinglet_process_cpu_seconds_total",
            "kinglet_process_resident_memory_bytes", "kinglet_process_open_descriptors",
            "kinglet_process_max_descriptors", "kinglet_sessions", "kinglet_sessions_hibernating",
            "kinglet_sessions_inactive", "kinglet_resumptions_total",
            "kinglet_unacknowledged_stanzas", "kinglet_archive_bytes", "kinglet_csi_held_total",
            "kinglet_csi_superseded_total", "kinglet_csi_flushed_total",
        ]
        + [
            "kinglet_message_delivery_seconds", "kinglet_commit_duration_seconds",
            "kinglet_commit_batch_size", "kinglet_event_loop_lag_seconds",
            "kinglet_archive_query_seconds",
        ].flatMap { ["\($0)_bucket", "\($0)_sum", "\($0)_count"] })

/// The names in a query that are metrics of ours.
private func metrics(in query: String) -> [String] {
    query.split { !($0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_")) }.map(String.init)
        .filter { $0 == "up" || $0.hasPrefix("kinglet_") || $0.hasPrefix("rpi_") }
}

@Suite("Dashboard")
struct DashboardTests {
    @Test("Every query uses known metrics, and every metric of the machine is shown")
    func knownNames() throws {
        let queries = try Repository.dashboard().panels.flatMap { $0.targets ?? [] }.map(\.expr)
        var used: Set<String> = []
        for query in queries {
            let names = metrics(in: query)
            #expect(!names.isEmpty, "\(query)")
            for name in names { #expect(knownMetrics.contains(name), "\(query)") }
            used.formUnion(names)
        }
        let readings = allReadings().flatMap { type(of: $0).families.map(\.name) }
        #expect(used.isSuperset(of: readings))
    }

    @Test("Every panel and query goes by the data source variable")
    func dataSource() throws {
        let dashboard = try Repository.dashboard()
        let expected = Dashboard.Source(type: "prometheus", uid: "${ds_prometheus}")
        #expect(dashboard.templating.list.first?.name == "ds_prometheus")
        #expect(dashboard.templating.list.first?.type == "datasource")
        for variable in dashboard.templating.list.dropFirst() {
            #expect(variable.datasource == expected)
        }
        for panel in dashboard.panels where panel.type != "row" {
            #expect(panel.datasource == expected, "\(panel.title)")
            for target in panel.targets ?? [] {
                #expect(target.datasource == expected, "\(panel.title)")
            }
        }
    }

    @Test("No query names a job or an instance of its own")
    func noFixedInstance() throws {
        for target in try Repository.dashboard().panels.flatMap({ $0.targets ?? [] }) {
            let selectors = target.expr.components(separatedBy: "{").dropFirst()
            #expect(!selectors.isEmpty)
            for selector in selectors {
                #expect(selector.hasPrefix(#"job="$job", instance=~"$instance""#), "\(target.expr)")
            }
        }
    }

    @Test("Panels have an id of their own, a unit, a description and queries; none overlap")
    func panels() throws {
        let panels = try Repository.dashboard().panels
        #expect(Set(panels.map(\.id)).count == panels.count)
        for (index, panel) in panels.enumerated() {
            #expect(panel.gridPos.x + panel.gridPos.w <= 24, "\(panel.title)")
            for other in panels[..<index] {
                #expect(!panel.gridPos.overlaps(other.gridPos), "\(panel.title), \(other.title)")
            }
            guard panel.type != "row" else { continue }
            #expect(panel.fieldConfig?.defaults.unit.isEmpty == false, "\(panel.title)")
            #expect(panel.description?.isEmpty == false, "\(panel.title)")
            let references = (panel.targets ?? []).map(\.refId)
            #expect(!references.isEmpty && Set(references).count == references.count)
        }
    }
}
