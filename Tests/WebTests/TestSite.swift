// A server on a free port of this machine, and what it was asked.

import Foundation
import Logging
import NIOCore
import NIOPosix
import Options
import Prometheus
import TLS

@testable import Web

/// One certificate for all tests, made once.
enum TestCertificate {
    static let made = Result {
        try LocalAuthority.create(
            domains: ["example.org"], authorityName: "Test authority",
            now: Int64(Date().timeIntervalSince1970))
    }
}

/// A server while a test uses it.
final class TestSite: Sendable {
    let server: WebServer
    let tls: TLSServerContext
    let metrics: WebMetrics
    let registry: Registry
    let admission: WebAdmission
    let folder: String
    private let group: MultiThreadedEventLoopGroup

    var port: Int { server.bound.first?.port ?? 0 }

    private init(
        server: WebServer, tls: TLSServerContext, metrics: WebMetrics, registry: Registry,
        admission: WebAdmission, folder: String, group: MultiThreadedEventLoopGroup
    ) {
        self.server = server
        self.tls = tls
        self.metrics = metrics
        self.registry = registry
        self.admission = admission
        self.folder = folder
        self.group = group
    }

    /// Opens a server, gives it to `body` and closes it.
    ///
    /// - Parameter yaml: more of the configuration, after `listen`.
    ///   - webPort: 0 for any free one.
    static func with(
        _ yaml: String = "", routes: [WebRoute] = [], addresses: [String] = ["127.0.0.1"],
        webPort: Int = 0, exemptsLoopback: Bool = true,
        _ body: @Sendable (TestSite) async throws -> Void
    ) async throws {
        let set = OptionSet(
            try ConfigurationDocument.parse(
                "listen:\n  web_port: \(webPort)\n\(yaml)", file: "kinglet.yaml"))
        let options = WebOptions(set, addresses: Setting(addresses))
        try set.finish()
        let made = try TestCertificate.made.get()
        let folder = "/tmp/kinglet-web-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, text) in [("crt", made.serverCertificatePEM), ("key", made.serverKeyPEM)] {
            try text.write(toFile: "\(folder)/server.\(name)", atomically: false, encoding: .utf8)
        }
        try made.authorityCertificatePEM.write(
            toFile: "\(folder)/authority.crt", atomically: false, encoding: .utf8)
        let tls = try TLSServerContext([
            TLSIdentity(
                domains: ["example.org"], certificateFile: "\(folder)/server.crt",
                keyFile: "\(folder)/server.key")
        ])
        let registry = Registry()
        let metrics = WebMetrics(in: registry)
        let admission = WebAdmission(
            options, metrics: metrics, exemptsLoopback: exemptsLoopback)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server: WebServer
        do {
            server = try await WebServer.open(
                options, tls: tls, metrics: metrics, routes: routes + standardRoutes,
                group: group, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                admission: admission)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        let site = TestSite(
            server: server, tls: tls, metrics: metrics, registry: registry, admission: admission,
            folder: folder, group: group)
        do {
            try await body(site)
        } catch {
            await server.close()
            try? await group.shutdownGracefully()
            throw error
        }
        await server.close()
        try await group.shutdownGracefully()
    }

    /// What most tests ask for.
    static let standardRoutes = [
        WebRoute(.post, .exact("/echo"), bodyLimit: 10_000) { request in
            WebResponse(200, body: request.body)
        },
        WebRoute(.get, .parameter(after: "/item/")) { request in
            .text(200, "[\(request.parameter)] [\(request.query)]")
        },
        WebRoute(.put, .parameter(after: "/item/")) { _ in WebResponse(204) },
        WebRoute(.get, .exact("/large")) { _ in
            WebResponse(200, body: [UInt8](repeating: 0x78, count: 32 * 1024 * 1024))
        },
        WebRoute(.get, .exact("/slow")) { request in
            let time = Int(request.query) ?? 60_000
            try? await Task.sleep(for: .milliseconds(time))
            return .text(200, Task.isCancelled ? "cancelled" : "slow")
        },
    ]

    /// Waits until `condition` holds, at most ten seconds.
    func eventually(_ condition: @Sendable () -> Bool) async -> Bool {
        for _ in 0..<1000 {
            if condition() { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return condition()
    }
}

/// Runs what blocks on a thread of its own: the server's handlers need those of tasks.
func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
    }
}
