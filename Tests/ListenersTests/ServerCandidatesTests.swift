// Where another domain's server is, by what DNS says of both services.

import DNS
import Engine
import Testing

@testable import Listeners

@Suite struct ServerCandidatesTests {
    private typealias Answer = ServerCandidates.Answer

    /// The same numbers each time.
    private struct Numbers: RandomNumberGenerator {
        var state: UInt64 = 7

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 33)
        }
    }

    private static func found(_ direct: Answer, _ starttls: Answer) -> ServerCandidates {
        var generator = Numbers()
        return ServerCandidates(direct: direct, starttls: starttls, using: &generator)
    }

    private static func records(_ records: (Int, Int, Int, String)...) -> Answer {
        .success(
            .records(
                records.map {
                    ServiceRecord(priority: $0.0, weight: $0.1, port: $0.2, target: $0.3)
                }))
    }

    @Test("Records of both services are one list by priority (XEP-0368 section 3, rule 1)")
    func merged() {
        let found = Self.found(
            Self.records((5, 0, 5270, "b.example"), (30, 0, 443, "d.example")),
            Self.records((20, 0, 5269, "c.example"), (1, 0, 5269, "a.example")))
        #expect(
            found
                == .list([
                    ServerCandidate(host: "a.example", port: 5269, isDirectTLS: false),
                    ServerCandidate(host: "b.example", port: 5270, isDirectTLS: true),
                    ServerCandidate(host: "c.example", port: 5269, isDirectTLS: false),
                    ServerCandidate(host: "d.example", port: 443, isDirectTLS: true),
                ]))
    }

    @Test("Weights count across both services (XEP-0368 section 3, rule 1; RFC 2782)")
    func weights() {
        var numbers = Numbers()
        var directFirst = 0
        for _ in 0..<400 {
            let found = ServerCandidates(
                direct: Self.records((1, 30, 5270, "a.example")),
                starttls: Self.records((1, 10, 5269, "a.example")), using: &numbers)
            guard case .list(let list) = found, let first = list.first else { continue }
            #expect(list.count == 2)
            if first.isDirectTLS { directFirst += 1 }
        }
        // Three quarters.
        #expect((260...340).contains(directFirst))
    }

    @Test("One service alone is enough, whatever is said of the other")
    func oneService() {
        let direct = Self.records((1, 1, 5270, "a.example"))
        let list = ServerCandidates.list([
            ServerCandidate(host: "a.example", port: 5270, isDirectTLS: true)
        ])
        #expect(Self.found(direct, .success(.none)) == list)
        #expect(Self.found(direct, .success(.unavailable)) == list)
        #expect(Self.found(direct, .failure(DNSError(.timeout, "x"))) == list)
    }

    @Test("Without records the domain's own address counts (RFC 6120 section 3.2.2)")
    func domainItself() {
        #expect(Self.found(.success(.none), .success(.none)) == .domainItself)
        #expect(Self.found(.success(.unavailable), .success(.none)) == .domainItself)
    }

    @Test("A target \".\" says that there is no server (RFC 2782, RFC 6120 section 3.2.1)")
    func unavailable() {
        for direct: ServiceAnswer in [.none, .unavailable] {
            guard case .failure(let failure) = Self.found(.success(direct), .success(.unavailable))
            else {
                Issue.record("no failure with \(direct)")
                continue
            }
            #expect(failure.reason == .noService)
            #expect(failure.isPermanent)
        }
    }

    @Test(
        "A look-up that failed is no answer: it is tried again later",
        arguments: [
            (DNSError.Code.timeout, FederationFailureReason.dnsTimeout),
            (.serverFailure, .dnsFailure), (.refused, .dnsFailure), (.malformed, .dnsFailure),
            (.cancelled, .shutdown),
        ])
    func failures(_ code: DNSError.Code, _ reason: FederationFailureReason) {
        let error = Answer.failure(DNSError(code, "x.example"))
        for found in [
            Self.found(error, .success(.none)), Self.found(.success(.none), error),
            Self.found(error, error),
        ] {
            guard case .failure(let failure) = found else {
                Issue.record("no failure with \(code)")
                continue
            }
            #expect(failure.reason == reason)
            #expect(!failure.isPermanent)
        }
    }

    @Test("A domain without an address is one that does not exist, or has no server")
    func noDomain() {
        let absent = FederationFailure(DNSError(.noSuchDomain, "x.example"))
        #expect(absent.reason == .noSuchDomain)
        #expect(absent.isPermanent)
        let empty = FederationFailure(DNSError(.noAddress, "x.example"))
        #expect(empty.reason == .noAddress)
        #expect(empty.isPermanent)
    }

    @Test("A domain too long for a service's name has no records (RFC 6120 section 3.2.2)")
    func tooLong() {
        let error = Answer.failure(DNSError(.invalidName, "x.example"))
        for found in [
            Self.found(error, error), Self.found(error, .success(.none)),
        ] {
            #expect(found == .domainItself)
        }
        #expect(FederationFailure(DNSError(.invalidName, "x.example")).isPermanent)
    }
}
