// What replies say about a question, and how long it holds.

/// What may be asked.
enum Question: Hashable, Sendable {
    /// SRV records; the name in lower case, without a dot at its end.
    case services(String)
    /// A and AAAA records.
    case addresses(String)

    var name: String {
        switch self {
        case .services(let name), .addresses(let name): name
        }
    }

    /// The types of records that it takes.
    var types: [UInt16] {
        switch self {
        case .services: [DNSMessage.RecordType.service]
        case .addresses: [DNSMessage.RecordType.address6, DNSMessage.RecordType.address]
        }
    }
}

/// What came for a question about one type of record.
enum Reply: Sendable, Equatable {
    /// A name server's message, whatever it says.
    case message([UInt8])
    case failure(DNSError.Code)
}

/// What is known about a question, and for how long.
struct Answer: Sendable, Equatable {
    enum Found: Sendable, Equatable {
        case services(ServiceAnswer)
        case addresses([ResolvedAddress])
    }

    var result: Result<Found, DNSError>
    var lifetime: Duration

    /// Records of one type that are used at most.
    static let mostRecords = 64
    /// Steps from alias to alias.
    static let mostAliases = 16
    /// What names its lifetime holds so many seconds.
    static let lifetimes: ClosedRange<UInt32> = 5...86_400
    /// What does not exist.
    static let negativeLifetimes: ClosedRange<UInt32> = 5...300
    /// What failed, what is known in part, and what stands in the hosts file.
    static let shortLifetime: UInt32 = 5

    private init(_ result: Result<Found, DNSError>, seconds: UInt32) {
        self.result = result
        lifetime = .seconds(Int64(seconds))
    }

    /// Addresses that the hosts file names.
    init(hosts addresses: [ResolvedAddress]) {
        self.init(.success(.addresses(Self.distinct(addresses))), seconds: Self.shortLifetime)
    }

    /// What the replies say together.
    ///
    /// - Parameter replies: one for each of the question's types, in their order.
    init(_ question: Question, _ replies: [Reply]) {
        let name = DNSName(question.name) ?? DNSName()
        let parts = zip(question.types, replies).map { Part(name, type: $0, $1) }
        switch question {
        case .services:
            self = Self.services(question.name, parts.first ?? .failure(.malformed))
        case .addresses:
            self = Self.addresses(question.name, parts)
        }
    }

    private static func failure(
        _ code: DNSError.Code, _ name: String, seconds: UInt32 = shortLifetime
    ) -> Answer {
        Answer(.failure(DNSError(code, name)), seconds: seconds)
    }

    // MARK: Services

    private static func services(_ name: String, _ part: Part) -> Answer {
        switch part {
        case .failure(let code):
            return failure(code, name)
        case .nothing(_, let seconds):
            return Answer(.success(.services(.none)), seconds: seconds)
        case .records(let contents, let seconds):
            guard !contents.allSatisfy(\.isRoot) else {
                return Answer(.success(.services(.unavailable)), seconds: seconds)
            }
            let records = distinct(contents.compactMap(\.service))
            // There are some, so that the domain's own address does not count.
            guard !records.isEmpty else { return failure(.malformed, name) }
            return Answer(.success(.services(.records(records))), seconds: seconds)
        }
    }

    // MARK: Addresses

    private static func addresses(_ name: String, _ parts: [Part]) -> Answer {
        var found: [ResolvedAddress] = []
        var seconds = lifetimes.upperBound
        var code: DNSError.Code?
        var isDomain = true
        for part in parts {
            switch part {
            case .failure(let reason):
                code = reason
                seconds = shortLifetime
            case .nothing(let exists, let lifetime):
                isDomain = isDomain && exists
                seconds = min(seconds, lifetime)
            case .records(let contents, let lifetime):
                found += contents.compactMap(\.address)
                seconds = min(seconds, lifetime)
            }
        }
        found = distinct(found)
        if !found.isEmpty { return Answer(.success(.addresses(found)), seconds: seconds) }
        // That there is no such domain is true of all types.
        if !isDomain { return failure(.noSuchDomain, name, seconds: seconds) }
        return failure(code ?? .noAddress, name, seconds: seconds)
    }

    /// The first ones, each once.
    private static func distinct<Value: Equatable>(_ values: [Value]) -> [Value] {
        var result: [Value] = []
        for value in values where result.count < mostRecords && !result.contains(value) {
            result.append(value)
        }
        return result
    }
}

/// What one reply says about one type of record.
private enum Part {
    /// At least one.
    case records([DNSMessage.Content], seconds: UInt32)
    case nothing(isDomain: Bool, seconds: UInt32)
    case failure(DNSError.Code)

    init(_ name: DNSName, type: UInt16, _ reply: Reply) {
        switch reply {
        case .failure(.noSuchDomain):
            self = .nothing(isDomain: false, seconds: Answer.shortLifetime)
        case .failure(.noAddress):
            self = .nothing(isDomain: true, seconds: Answer.shortLifetime)
        case .failure(let code):
            self = .failure(code)
        case .message(let bytes):
            guard let message = try? DNSMessage(bytes), !message.isTruncated,
                message.question == nil || message.question == name
            else {
                self = .failure(.malformed)
                return
            }
            self.init(name, type: type, message)
        }
    }

    private init(_ name: DNSName, type: UInt16, _ message: DNSMessage) {
        switch message.code {
        case 0, 3: break
        case 5:
            self = .failure(.refused)
            return
        default:
            self = .failure(.serverFailure)
            return
        }
        var name = name
        var seconds = Answer.lifetimes.upperBound
        for _ in 0...Answer.mostAliases {
            let own = message.answers.filter { $0.owner == name }
            let records = own.filter { $0.type == type }
            if !records.isEmpty {
                seconds = records.reduce(seconds) { min($0, $1.lifetime) }
                self = .records(
                    records.map(\.content), seconds: max(seconds, Answer.lifetimes.lowerBound))
                return
            }
            guard let record = own.first(where: { $0.type == DNSMessage.RecordType.alias }),
                case .alias(let next) = record.content
            else {
                let limits = Answer.negativeLifetimes
                seconds = min(seconds, message.negativeLifetime, limits.upperBound)
                self = .nothing(
                    isDomain: message.code == 0, seconds: max(seconds, limits.lowerBound))
                return
            }
            seconds = min(seconds, record.lifetime)
            name = next
        }
        // The aliases lead in a circle, or too far.
        self = .failure(.malformed)
    }
}

extension DNSMessage {
    /// Seconds for which what is not there may be taken as not there (RFC 2308, section 5).
    fileprivate var negativeLifetime: UInt32 {
        for record in authority {
            if case .authority(let minimum) = record.content {
                return min(minimum, record.lifetime)
            }
        }
        return 0
    }
}

extension DNSMessage.Content {
    fileprivate var address: ResolvedAddress? {
        if case .address(let bytes) = self { ResolvedAddress(bytes: bytes) } else { nil }
    }

    /// Whether it says that there is no such service.
    fileprivate var isRoot: Bool {
        if case .service(_, _, _, let target) = self { target.isRoot } else { false }
    }

    /// The record; nil when nobody can connect to it.
    fileprivate var service: ServiceRecord? {
        guard case .service(let priority, let weight, let port, let target) = self, port > 0,
            let target = target.text, ResolvedAddress(target) == nil
        else { return nil }
        return ServiceRecord(
            priority: Int(priority), weight: Int(weight), port: Int(port), target: target)
    }
}
