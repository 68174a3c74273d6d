// Which connections may come in and how many requests an address may send.

internal import Glibc
internal import NIOCore
internal import Options
internal import Prometheus
internal import Synchronization

/// A client's address without its port.
struct WebPeer: Sendable {
    /// In numeric form, IPv4 as such also when it came through IPv6.
    let text: String
    /// The address, or the /64 that an IPv6 address is in.
    let network: String
    let isLoopback: Bool

    init(_ address: SocketAddress?) { self.init(address?.ipAddress ?? "") }

    init(_ address: String) {
        var text = address
        if text.hasPrefix("::ffff:"), text.contains(".") { text = String(text.dropFirst(7)) }
        self.text = text
        isLoopback = text == "::1" || text.hasPrefix("127.")
        var bytes = [UInt8](repeating: 0, count: 16)
        if !isLoopback, inet_pton(AF_INET6, text, &bytes) == 1 {
            network = bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ".") + "/64"
        } else {
            network = text
        }
    }
}

/// Tells a connection that somebody waits for a place.
struct PlaceIsWanted: Sendable {}

/// Counts connections and requests. Safe on any thread.
final class WebAdmission: Sendable {
    /// So many seconds' worth of requests may come at once.
    private static let burst = 4.0
    /// Addresses whose requests are remembered.
    private static let rememberedAddresses = 4096

    private struct Bucket {
        var tokens: Double
        var filledAt: NIODeadline
    }

    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var byNetwork: [String: Int] = [:]
        var buckets: [String: Bucket] = [:]
        /// When the connections were asked for a place.
        var askedAt: NIODeadline?
        /// When the full ones were looked for.
        var forgotAt: NIODeadline?
    }

    private let options: WebOptions
    private let metrics: WebMetrics
    private let exemptsLoopback: Bool
    private let state = Mutex(State())

    /// - Parameter exemptsLoopback: false for tests, which have no other address.
    init(_ options: WebOptions, metrics: WebMetrics, exemptsLoopback: Bool = true) {
        self.options = options
        self.metrics = metrics
        self.exemptsLoopback = exemptsLoopback
    }

    /// The connections that are open.
    var channels: [any Channel] { state.withLock { Array($0.channels.values) } }

    /// Admits a connection, which then must leave.
    func enter(_ channel: any Channel, _ peer: WebPeer) -> Bool {
        let refusal: WebRefusal? = state.withLock { state in
            guard state.channels.count < options.connections.value else { return .connections }
            let same = state.byNetwork[peer.network] ?? 0
            guard isExempt(peer) || same < options.connectionsPerAddress.value else {
                return .connectionsPerAddress
            }
            state.channels[ObjectIdentifier(channel)] = channel
            state.byNetwork[peer.network] = same + 1
            return nil
        }
        if let refusal {
            metrics.refused(refusal)
            if refusal == .connections { askForPlaces() }
        } else {
            metrics.connections.add(1)
        }
        return refusal == nil
    }

    /// Those that do nothing make room for the next ones; or strangers who only keep connections
    /// open could shut others out.
    private func askForPlaces() {
        let now = NIODeadline.now()
        let channels: [any Channel] = state.withLock { state in
            if let last = state.askedAt, now - last < .milliseconds(500) { return [] }
            state.askedAt = now
            return Array(state.channels.values)
        }
        for channel in channels {
            channel.pipeline.fireUserInboundEventTriggered(PlaceIsWanted())
        }
    }

    /// The connection, and what worked for it, is gone.
    func leave(_ channel: any Channel, _ peer: WebPeer) {
        let wasThere = state.withLock { state in
            guard state.channels.removeValue(forKey: ObjectIdentifier(channel)) != nil else {
                return false
            }
            let same = (state.byNetwork[peer.network] ?? 1) - 1
            state.byNetwork[peer.network] = same > 0 ? same : nil
            return true
        }
        if wasThere { metrics.connections.add(-1) }
    }

    /// Takes a request of `peer`; nil, or the whole seconds until it may send the next one.
    func take(_ peer: WebPeer, now: NIODeadline = .now()) -> Int? {
        guard !isExempt(peer) else { return nil }
        let rate = Double(options.requestRate.value)
        let full = rate * Self.burst
        let wait: Double? = state.withLock { state in
            if state.buckets.count >= Self.rememberedAddresses {
                Self.forgetSome(&state, rate, now)
            }
            // Where even then there is no room, the newcomers share one.
            let isKnown = state.buckets[peer.network] != nil
            let hasRoom = isKnown || state.buckets.count < Self.rememberedAddresses
            let key = hasRoom ? peer.network : ""
            var bucket = state.buckets[key] ?? Bucket(tokens: full, filledAt: now)
            let earned = max(0, Double((now - bucket.filledAt).nanoseconds) / 1e9) * rate
            bucket.tokens = min(full, bucket.tokens + earned)
            bucket.filledAt = now
            let isTaken = bucket.tokens >= 1
            if isTaken { bucket.tokens -= 1 }
            state.buckets[key] = bucket
            return isTaken ? nil : (1 - bucket.tokens) / rate
        }
        guard let wait else { return nil }
        metrics.refused(.rate)
        return max(1, Int(wait.rounded(.up)))
    }

    /// How many addresses are remembered.
    var remembered: Int { state.withLock { $0.buckets.count } }

    private func isExempt(_ peer: WebPeer) -> Bool { exemptsLoopback && peer.isLoopback }

    /// Buckets that have filled up again say nothing. Looking at all of them costs something, so it
    /// is done once a second.
    private static func forgetSome(_ state: inout State, _ rate: Double, _ now: NIODeadline) {
        if let last = state.forgotAt, now - last < .seconds(1) { return }
        state.forgotAt = now
        state.buckets = state.buckets.filter { _, bucket in
            let earned = Double((now - bucket.filledAt).nanoseconds) / 1e9 * rate
            return bucket.tokens + earned < rate * burst
        }
    }
}
