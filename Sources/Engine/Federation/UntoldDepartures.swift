// Who seems to be there still, because the other domain could not be told that they went.

internal import Addresses
internal import NIOCore
internal import Synchronization
internal import XML
internal import XMPP

/// Somebody has gone, and somebody elsewhere should know.
struct Departure: Hashable, Sendable {
    let from, to: JID

    /// What a stanza that was dropped would have said; nil if it was no unavailable presence.
    init?(_ entry: QueuedStanza) {
        guard entry.id == nil, entry.stanza.kind == .presence,
            let stanza = Stanza(routed: entry.stanza.bytes), stanza.isType("unavailable"),
            let to = stanza.to
        else { return nil }
        from = stanza.from
        self.to = to
    }

    var stanza: OutboundStanza {
        let presence = Element(
            "presence", Namespaces.client,
            [("from", from.description), ("to", to.description), ("type", "unavailable")])
        return OutboundStanza(
            .presence, XMLWriter.bytes(presence, contentNamespace: Namespaces.client))
    }

    fileprivate var size: Int { from.description.utf8.count + to.description.utf8.count }
}

/// The departures that a route could not tell.
struct UntoldDepartures: Sendable {
    private static let limit = 1000
    private static let limitBytes = 131_072

    private var departures: Set<Departure> = []
    private var bytes = 0

    var isEmpty: Bool { departures.isEmpty }

    /// Those that find no room are lost.
    mutating func insert(_ departure: Departure) {
        guard departures.count < Self.limit, bytes + departure.size <= Self.limitBytes,
            departures.insert(departure).inserted
        else { return }
        bytes += departure.size
    }

    mutating func takeAll() -> [Departure] {
        defer { (departures, bytes) = ([], 0) }
        return Array(departures)
    }
}

extension ServerRoute {
    /// Presence that is dropped may have been the news that somebody is gone.
    func noteDepartures(in dropped: [QueuedStanza]) {
        let departures = dropped.compactMap { Departure($0) }
        guard !departures.isEmpty else { return }
        state.withLock { state in
            for departure in departures { state.departures.insert(departure) }
        }
    }

    /// Who went while nothing could be sent, and has not come back.
    func tell(_ departures: [Departure]) {
        let entries = departures.compactMap { departure -> QueuedStanza? in
            let session = host.sessions.session(departure.from)
            guard session?.availability.isAvailable != true else { return nil }
            return QueuedStanza(
                stanza: departure.stanza, id: nil, arrivedAt: Clock.millisecondsSince1970(),
                expiresAt: host.loopTime + .seconds(60))
        }
        guard !entries.isEmpty else { return }
        state.withLock { state in
            for entry in entries { state.queue.append(entry) }
        }
        federation.noteQueued(
            entries.count, entries.reduce(0) { $0 + $1.stanza.bytes.count })
    }
}
