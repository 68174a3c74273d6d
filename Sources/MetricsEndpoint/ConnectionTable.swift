// Who is connected to the endpoint and what for: no address may take all places, and a request has
// to become whole in time. Events in, answers out; no sockets, no clock of its own.

/// The open connections of the endpoint.
struct ConnectionTable {
    /// What clients may take.
    struct Limits {
        /// Connections in all.
        var total = 128
        /// Connections from one address; of IPv6, from one network of 64 bits, which one client
        /// may have to itself.
        var perAddress = 32
        /// Connections of all addresses together that may not read metrics. They are let in to be
        /// told so.
        var strangers = 8
        /// Time for a request to arrive.
        var requestTime: Duration = .seconds(5)
        /// Bytes of a request line and headers.
        var headers = 8 * 1024
    }

    /// How far a request is.
    private enum Phase: Int {
        /// It has not come, or not with all of its headers.
        case waiting
        /// Its body comes.
        case receiving
        /// It is being answered.
        case answering
    }

    /// Whose connections are counted together.
    private enum Origin: Hashable {
        case address(UInt128)
        case strangers
    }

    private struct Connection {
        let origin: Origin
        /// In the order of the connections' opening.
        let number: UInt64
        var phase = Phase.waiting
        var hasBeenAnswered = false
        /// When the request began that is not whole yet; nil while none has.
        var begun: ContinuousClock.Instant?
        /// Bytes that had come when the last request was whole.
        var answered: UInt64 = 0
        /// Closed by us, and nothing more is to be counted.
        var isClosing = false
    }

    private let limits: Limits
    private var connections: [Int32: Connection] = [:]
    private var next: UInt64 = 0

    init(_ limits: Limits) {
        self.limits = limits
    }

    var isEmpty: Bool { connections.isEmpty }

    /// A connection was opened. Returns those to close for it and why: the new one has the best
    /// chance to be a scraper that asks at once, so the place of an older one that does not ask is
    /// taken, and of the address that has most.
    mutating func open(
        _ descriptor: Int32, from address: IPAddress?, isAllowed: Bool,
        at now: ContinuousClock.Instant
    ) -> [(descriptor: Int32, refusal: ScrapeRefusal)] {
        next &+= 1
        let origin = isAllowed ? address.map { Origin.address($0.network) } : nil
        connections[descriptor] = Connection(
            origin: origin ?? .strangers, number: next, begun: now)
        let open = connections.values.filter { !$0.isClosing }
        let counts = Dictionary(open.map { ($0.origin, 1) }, uniquingKeysWith: +)
        let own = counts[origin ?? .strangers] ?? 0
        var crowded: Origin?
        if own > (origin == nil ? limits.strangers : limits.perAddress) {
            crowded = origin ?? .strangers
        } else if open.count > limits.total {
            crowded = counts.max { $0.value < $1.value }?.key
        }
        guard let crowded else { return [] }
        let victim = worst(of: crowded, but: descriptor) ?? descriptor
        connections[victim]?.isClosing = true
        return [(victim, crowded == .strangers ? .address : .connections)]
    }

    /// The connection whose place is given away first: the oldest that never asked, else the oldest
    /// that asks nothing now. None that is being answered.
    private func worst(of origin: Origin, but newest: Int32) -> Int32? {
        connections
            .filter {
                $0.key != newest && $0.value.origin == origin && !$0.value.isClosing
                    && $0.value.phase != .answering
            }
            .min {
                ($0.value.hasBeenAnswered ? 1 : 0, $0.value.number)
                    < ($1.value.hasBeenAnswered ? 1 : 0, $1.value.number)
            }?.key
    }

    /// A request's headers are there.
    mutating func receivedHeaders(_ descriptor: Int32) {
        connections[descriptor]?.phase = .receiving
    }

    /// A request is whole and is being answered.
    /// - Parameter received: bytes that have come in all, where the kernel tells.
    mutating func beginAnswer(_ descriptor: Int32, received: UInt64?) {
        connections[descriptor]?.phase = .answering
        connections[descriptor]?.answered = received ?? .max
    }

    /// An answer was sent; the connection waits for another request.
    mutating func endAnswer(_ descriptor: Int32) {
        connections[descriptor]?.phase = .waiting
        connections[descriptor]?.hasBeenAnswered = true
        connections[descriptor]?.begun = nil
    }

    /// A request was refused and its connection will be closed; it counts once.
    mutating func refuse(_ descriptor: Int32) {
        connections[descriptor]?.isClosing = true
    }

    /// The connections whose request does not become whole in time, to be closed. A connection that
    /// was answered before may be silent; libmicrohttpd closes it.
    mutating func takeOverdue(
        at now: ContinuousClock.Instant, received: (Int32) -> UInt64?
    ) -> [Int32] {
        var overdue: [Int32] = []
        for (descriptor, connection) in connections
        where !connection.isClosing && connection.phase != .answering {
            if let begun = connection.begun {
                guard begun.duration(to: now) >= limits.requestTime else { continue }
                connections[descriptor]?.isClosing = true
                overdue.append(descriptor)
            } else if let bytes = received(descriptor), bytes > connection.answered {
                connections[descriptor]?.begun = now
            }
        }
        return overdue
    }

    /// A connection was closed by whomever. Says what to count: libmicrohttpd itself refuses headers
    /// that do not fit, and does not tell.
    mutating func close(_ descriptor: Int32, received: UInt64?) -> ScrapeRefusal? {
        guard let connection = connections.removeValue(forKey: descriptor),
            !connection.isClosing, connection.phase == .waiting, let received,
            received > connection.answered,
            received - connection.answered > UInt64(clamping: limits.headers)
        else { return nil }
        return .tooLarge
    }
}

extension IPAddress {
    /// The address, or of an IPv6 address its first half.
    fileprivate var network: UInt128 { isIPv4 ? bits : (bits >> 64) << 64 }
}
