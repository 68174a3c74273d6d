// Presence that could not get to another domain, and what is said instead of it when the domain can
// be reached again: how things are by then (RFC 6121 sections 4.2 to 4.6).

internal import Addresses
internal import NIOCore
internal import Synchronization
internal import XML
internal import XMPP

/// Presence for somebody elsewhere that was dropped.
struct LostPresence: Sendable {
    enum Kind: Sendable { case available, unavailable, probe }

    struct Parties: Hashable, Sendable {
        let from, to: JID

        /// What remembering them takes.
        fileprivate var size: Int {
            from.description.utf8.count + to.description.utf8.count + 128
        }
    }

    let parties: Parties
    let kind: Kind
    /// Later for what was sent later.
    let order: NIODeadline

    /// Nil for what is no presence, or is kept until it is there.
    init?(_ entry: QueuedStanza) {
        guard entry.id == nil, entry.stanza.kind == .presence,
            let stanza = Stanza(routed: entry.stanza.bytes), let to = stanza.to
        else { return nil }
        switch stanza.type {
        case nil: kind = .available
        case "unavailable": kind = .unavailable
        case "probe": kind = .probe
        default: return nil
        }
        parties = Parties(from: stanza.from, to: to)
        order = entry.expiresAt
    }
}

/// What of all the routes' memory is left. Safe on any thread.
final class UntoldBudget: Sendable {
    private let limit: Int
    private let used = Atomic<Int>(0)

    init(limit: Int = 4_194_304) { self.limit = limit }

    /// Takes so many bytes; false if there are not so many.
    func take(_ bytes: Int) -> Bool {
        guard used.add(bytes, ordering: .relaxed).newValue > limit else { return true }
        give(bytes)
        return false
    }

    func give(_ bytes: Int) { used.subtract(bytes, ordering: .relaxed) }
}

/// The presence that a route could not bring.
struct UntoldPresence: Sendable {
    /// What was lost between two.
    struct News: Sendable {
        var isAvailableLost = false
        var isUnavailableLost = false
        var isProbeLost = false
        fileprivate(set) var order: NIODeadline

        fileprivate var isEmpty: Bool {
            !isAvailableLost && !isUnavailableLost && !isProbeLost
        }
    }

    private static let limit = 1000
    private static let limitBytes = 262_144

    private var news: [LostPresence.Parties: News] = [:]
    private var bytes = 0

    var isEmpty: Bool { news.isEmpty }

    /// Notes what was lost; what finds no room is forgotten.
    mutating func insert(_ lost: LostPresence, _ budget: UntoldBudget) {
        let size = lost.parties.size
        if news[lost.parties] == nil {
            guard news.count < Self.limit, bytes + size <= Self.limitBytes, budget.take(size)
            else { return }
            bytes += size
        }
        var entry = news[lost.parties] ?? News(order: lost.order)
        entry.order = max(entry.order, lost.order)
        switch lost.kind {
        case .available: entry.isAvailableLost = true
        case .unavailable: entry.isUnavailableLost = true
        case .probe: entry.isProbeLost = true
        }
        news[lost.parties] = entry
    }

    /// Something goes to the other domain that says what was lost before.
    mutating func remove(_ sent: LostPresence, _ budget: UntoldBudget) {
        guard var entry = news[sent.parties] else { return }
        if sent.kind == .probe {
            entry.isProbeLost = false
        } else {
            (entry.isAvailableLost, entry.isUnavailableLost) = (false, false)
        }
        news[sent.parties] = entry.isEmpty ? nil : entry
        guard entry.isEmpty else { return }
        bytes -= sent.parties.size
        budget.give(sent.parties.size)
    }

    mutating func takeAll(_ budget: UntoldBudget) -> [LostPresence.Parties: News] {
        budget.give(bytes)
        defer { (news, bytes) = ([:], 0) }
        return news
    }
}

extension ServerRoute {
    /// A route that owes others a departure is remembered so long.
    private static let untoldMemory = TimeAmount.hours(24)

    /// Whether it may be forgotten: nothing waits, no stream stands, and nobody used it for so
    /// long. From then on it takes nothing.
    func forget(_ now: NIODeadline, unusedFor time: TimeAmount, keepsUntold: Bool) -> Bool {
        state.withLock { state in
            let isOwing = keepsUntold && !state.untold.isEmpty
            guard case .idle = state.phase, state.queue.count == 0,
                now - state.lastUsed > (isOwing ? Self.untoldMemory : time)
            else { return false }
            state.isForgotten = true
            state.failures = 0
            _ = state.untold.takeAll(federation.untold)
            return true
        }
    }

    /// Remembers between whom presence was dropped.
    func noteLostPresence(in dropped: [QueuedStanza]) {
        let lost = dropped.compactMap { LostPresence($0) }
        guard !lost.isEmpty else { return }
        state.withLock { state in
            guard !state.isForgotten else { return }
            for presence in lost {
                let from = presence.parties.from
                if !host.isLocal(from.domain) {
                    // What a component's users say is not known here, only whether the other domain
                    // may take them for present who are not.
                    switch presence.kind {
                    case .available: state.untold.remove(presence, federation.untold)
                    case .unavailable: state.untold.insert(presence, federation.untold)
                    case .probe: break
                    }
                } else if !from.isBare {
                    // From a bare address comes only the answer to a probe that there is nobody.
                    state.untold.insert(presence, federation.untold)
                }
            }
        }
    }

    /// The stream takes presence: what was lost before needs no saying.
    func noteSent(_ entry: QueuedStanza, _ state: inout State) {
        guard !state.untold.isEmpty, let sent = LostPresence(entry) else { return }
        state.untold.remove(sent, federation.untold)
    }

    /// Queues what the other domain has to hear instead of what was lost. Within the lock, so that
    /// whatever a client says meanwhile comes after it.
    func tellUntoldPresence() {
        let told = state.withLock { state -> [QueuedStanza] in
            let untold = state.untold.takeAll(federation.untold)
            guard !untold.isEmpty else { return [] }
            var later: [LostPresence.Parties: NIODeadline] = [:]
            if untold.contains(where: { !host.isLocal($0.key.from.domain) }) {
                for presence in state.queue.waiting.lazy.compactMap({ LostPresence($0) })
                where presence.kind != .probe {
                    later[presence.parties] = presence.order
                }
            }
            var told: [QueuedStanza] = []
            for (parties, news) in untold {
                // What waits already says how things are.
                if let order = later[parties], order > news.order { continue }
                for stanza in words(parties, news) {
                    told.append(
                        QueuedStanza(
                            stanza: stanza, id: nil, arrivedAt: Clock.millisecondsSince1970(),
                            expiresAt: host.loopTime + .seconds(60)))
                }
            }
            for entry in told { state.queue.append(entry) }
            return told
        }
        guard !told.isEmpty else { return }
        federation.noteQueued(told.count, told.reduce(0) { $0 + $1.stanza.bytes.count })
    }

    /// What somebody elsewhere has to hear of one whose presence was lost.
    private func words(
        _ parties: LostPresence.Parties, _ news: UntoldPresence.News
    ) -> [OutboundStanza] {
        let (from, to) = (parties.from, parties.to)
        let gone = news.isUnavailableLost ? [Self.presence("unavailable", parties)] : []
        guard let session = host.sessions.session(from), !host.isBlocked(between: from, and: to)
        else { return gone }
        let isDirected = { self.host.hooks.directedPresence?(session).contains(to) ?? false }
        guard let presence = session.availability.presence else {
            // It may have shown itself to a few only, and to this one again.
            return !news.isAvailableLost && isDirected() ? [] : gone
        }
        var words: [OutboundStanza] = []
        if host.hooks.maySeePresence?(to.bare, from.bare) ?? false {
            // To a room it said more than to all others, and has heard that this was lost.
            if news.isAvailableLost, to.isBare || !isDirected() {
                words.append(OutboundStanza(.presence, presence.routedBytes(to: to)))
            }
        } else if news.isAvailableLost || !isDirected() {
            words = gone
        }
        if news.isProbeLost, host.hooks.maySeePresence?(from.bare, to.bare) ?? false {
            words.append(Self.presence("probe", parties))
        }
        return words
    }

    private static func presence(
        _ type: String, _ parties: LostPresence.Parties
    ) -> OutboundStanza {
        let presence = Element(
            "presence", Namespaces.client,
            [
                ("from", parties.from.description), ("to", parties.to.description),
                ("type", type),
            ])
        return OutboundStanza(
            .presence, XMLWriter.bytes(presence, contentNamespace: Namespaces.client))
    }
}
