// Session tickets: resumption without memory on the server, and the change of their keys.

import NIOCore
import Testing

@testable import TLS

@Suite struct TicketTests {
    let site: Site
    let clock = ManualClock()
    let server: TLSServerContext

    init() throws {
        site = try Site("example.org")
        server = try makeServer([site.identity], clock: clock)
    }

    func session(_ version: TLSVersion) throws -> TLSClientSession? {
        try Link.open(server, TLSClientSettings(maximumVersion: version.protocolNumber))
            .client.session
    }

    func resume(_ session: TLSClientSession?, _ version: TLSVersion) throws -> Link {
        try Link.open(
            server, TLSClientSettings(maximumVersion: version.protocolNumber, session: session))
    }

    @Test(
        "A ticket resumes its session (RFC 8446 section 2.2, RFC 5077)",
        arguments: TLSVersion.allCases)
    func resumption(_ version: TLSVersion) throws {
        let session = try session(version)
        let link = try resume(session, version)
        #expect(link.isResumed)
        #expect(link.client.connection.isResumed)
        #expect(try link.send("<a/>") == "<a/>")
        let fresh = try resume(nil, version)
        #expect(!fresh.isResumed)
    }

    @Test("A resumed TLS 1.3 connection gets a new ticket (RFC 8446 appendix C.4)")
    func freshTicket() throws {
        let first = try session(.tls13)
        let link = try resume(first, .tls13)
        let second = link.client.session
        #expect(try resume(second, .tls13).isResumed)
    }

    @Test("Tickets outlive one change of keys, not two", arguments: TLSVersion.allCases)
    func rotation(_ version: TLSVersion) throws {
        let session = try session(version)
        clock.advance(hours: 13)
        let link = try resume(session, version)
        #expect(link.isResumed)
        // Meanwhile a ticket under the new key has come.
        let renewed = link.client.session
        clock.advance(hours: 12)
        #expect(try !resume(session, version).isResumed)
        #expect(try resume(renewed, version).isResumed)
    }

    @Test("After a long silence no old ticket is accepted")
    func silence() throws {
        let session = try session(.tls13)
        clock.advance(hours: 25)
        #expect(try !resume(session, .tls13).isResumed)
    }

    @Test("Tickets survive a reload", arguments: TLSVersion.allCases)
    func reload(_ version: TLSVersion) throws {
        let session = try session(version)
        try server.reload([site.identity])
        #expect(try resume(session, version).isResumed)
    }

    @Test("A ticket of another server means a full handshake")
    func foreignTicket() throws {
        let other = try makeServer([site.identity])
        let session = try Link.open(other).client.session
        let link = try resume(session, .tls13)
        #expect(link.handshakeIsComplete)
        #expect(!link.isResumed)
    }

    @Test("The previous key opens for one lifetime, counted from when it stopped to seal")
    func keys() {
        let clock = ManualClock()
        let keys = TicketKeys(lifetime: .seconds(12 * 3600)) { clock.now }
        func opens(_ key: TicketKeys.Key) -> Bool? {
            key.name.withUnsafeBufferPointer { keys.opening($0)?.isStale }
        }
        let first = keys.sealing()
        clock.advance(hours: 11)
        #expect(keys.sealing().name == first.name)
        #expect(opens(first) == false)
        // Used again late: the change is dated back to the twelfth hour.
        clock.advance(hours: 9)
        let second = keys.sealing()
        #expect(second.name != first.name)
        #expect(opens(first) == true)
        clock.advance(hours: 4)
        #expect(opens(first) == nil)
        #expect(opens(second) == true)
    }
}
