// Which connections may come in.

import Addresses
import Testing
import XML

@testable import Engine

@Suite struct AdmissionTests {
    @Test("Connections are limited in all, and leave room when they go")
    func all() async throws {
        try await withServer("limits.connections=2") { server in
            let admission = server.host.admission
            #expect(admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
            #expect(admission.enter(address: "192.0.2.2", isLoopback: false) == nil)
            #expect(admission.enter(address: "192.0.2.3", isLoopback: false) == .connections)
            #expect(admission.enter(address: "127.0.0.1", isLoopback: true) == .connections)
            #expect(server.refusals(.connections) == 2)
            admission.leave(address: "192.0.2.1", wasAuthenticated: false)
            #expect(admission.enter(address: "192.0.2.3", isLoopback: false) == nil)
        }
    }

    @Test("Connections are limited by address, loopback excepted")
    func byAddress() async throws {
        try await withServer("limits.connections_per_address=1") { server in
            let admission = server.host.admission
            #expect(admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
            #expect(
                admission.enter(address: "192.0.2.1", isLoopback: false) == .connectionsPerAddress)
            #expect(admission.enter(address: "192.0.2.2", isLoopback: false) == nil)
            for _ in 0..<3 {
                #expect(admission.enter(address: "127.0.0.1", isLoopback: true) == nil)
            }
            admission.leave(address: "192.0.2.1", wasAuthenticated: false)
            #expect(admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
        }
    }

    @Test("Connections that have not logged in are limited; a login makes room for another")
    func unauthenticated() async throws {
        try await withServer("limits.unauthenticated=1") { server in
            try await server.addAccount("juliet")
            let admission = server.host.admission
            let client = try await server.connect()
            #expect(
                admission.enter(address: "192.0.2.1", isLoopback: false)
                    == .unauthenticatedConnections)
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            #expect(admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
            admission.leave(address: "192.0.2.1", wasAuthenticated: false)
            await client.drop()
            let other = try await server.connect()
            await other.drop()
            #expect(admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
        }
    }

    @Test("Other servers have limits of their own, and take no room from clients")
    func servers() async throws {
        try await withServer(
            "limits.server_connections_per_address=2", "limits.unauthenticated_servers=3",
            "federation.streams=4", "limits.connections_per_address=1", "limits.unauthenticated=1"
        ) { server in
            let admission = server.host.serverAdmission
            #expect(admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
            #expect(admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
            #expect(
                admission.enter(address: "192.0.2.1", isLoopback: false) == .connectionsPerAddress)
            #expect(admission.enter(address: "192.0.2.2", isLoopback: false) == nil)
            #expect(
                admission.enter(address: "192.0.2.3", isLoopback: false)
                    == .unauthenticatedConnections)
            admission.authenticated()
            #expect(admission.enter(address: "192.0.2.3", isLoopback: false) == nil)
            #expect(admission.enter(address: "192.0.2.4", isLoopback: false) == .connections)
            #expect(server.host.admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
        }
    }

    @Test("Connections and sessions are counted up and down")
    func gauges() async throws {
        try await withServer { server in
            let connections = "kinglet_connections{type=\"c2s\",tls=\"none\"}"
            let client = try await server.login("juliet@capulet.example/balcony")
            #expect(server.metric(connections) == 1)
            #expect(server.metric("kinglet_sessions") == 1)
            await client.drop()
            #expect(server.metric(connections) == 0)
            try await server.wait { server.metric("kinglet_sessions") == 0 }
        }
    }
}
