// From the answers of DNS to the list of places where a domain's server may be (RFC 6120 section
// 3.2, XEP-0368 section 3).

internal import DNS
internal import Engine

/// What the answers come to.
enum ServerCandidates: Equatable {
    /// The places, in the order in which they are to be tried.
    case list([ServerCandidate])
    /// There are no records: the domain's own address counts.
    case domainItself
    case failure(FederationFailure)

    typealias Answer = Result<ServiceAnswer, DNSError>

    static let port = 5269

    /// Both services are one list: a record's priority and weight count across them.
    ///
    /// - Parameters:
    ///   - direct: the answer for `_xmpps-server._tcp`, TLS from the first byte.
    ///   - starttls: the answer for `_xmpp-server._tcp`.
    init(
        direct: Answer, starttls: Answer, using generator: inout some RandomNumberGenerator
    ) {
        let (direct, starttls) = (Self.meant(direct), Self.meant(starttls))
        let records =
            Self.records(direct).map { Record($0, isDirectTLS: true) }
            + Self.records(starttls).map { Record($0, isDirectTLS: false) }
        guard records.isEmpty else {
            let ordered = ServiceRecord.ordered(records, by: \.service, using: &generator)
            self = .list(ordered.map(\.candidate))
            return
        }
        switch (direct, starttls) {
        case (.failure(let error), _), (_, .failure(let error)):
            // Without its records, the domain's own address may be another machine's.
            self = .failure(FederationFailure(error, isPermanent: false))
        case (_, .success(.unavailable)):
            self = .failure(
                FederationFailure(.noService, "DNS says that it has no XMPP server"))
        default:
            self = .domainItself
        }
    }

    private struct Record {
        var service: ServiceRecord
        var isDirectTLS: Bool

        init(_ service: ServiceRecord, isDirectTLS: Bool) {
            self.service = service
            self.isDirectTLS = isDirectTLS
        }

        var candidate: ServerCandidate {
            ServerCandidate(
                host: service.target, port: service.port, isDirectTLS: isDirectTLS)
        }
    }

    /// A domain too long to have a name for the service below it has no records.
    private static func meant(_ answer: Answer) -> Answer {
        guard case .failure(let error) = answer, error.code == .invalidName else { return answer }
        return .success(.none)
    }

    private static func records(_ answer: Answer) -> [ServiceRecord] {
        guard case .success(.records(let records)) = answer else { return [] }
        return records
    }
}

extension FederationFailure {
    /// A look-up failed.
    init(_ error: DNSError, isPermanent: Bool? = nil) {
        let reason: FederationFailureReason =
            switch error.code {
            case .noSuchDomain, .invalidName: .noSuchDomain
            case .noAddress: .noAddress
            case .timeout: .dnsTimeout
            case .serverFailure, .refused, .malformed: .dnsFailure
            case .cancelled: .shutdown
            }
        self.init(reason, error.description, isPermanent: isPermanent)
    }
}

extension ServerCandidate {
    /// As a step's report has it.
    var text: String {
        let host = host.contains(":") ? "[\(host)]" : host
        return "\(host):\(port)" + (isDirectTLS ? " (TLS at once)" : "")
    }
}
