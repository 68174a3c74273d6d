// Other servers that do not acknowledge stanzas (XEP-0198) are asked whether they have them.

internal import Addresses
internal import NIOCore
internal import Options
internal import Synchronization
internal import XML
internal import XMPP

extension ServerRoute {
    /// How long the answer may take.
    private static let answerTime = TimeAmount.seconds(60)

    /// Asks something behind what was written: the answer says that all of it was read.
    func ask(_ stream: PeerStream) {
        let sent = state.withLock { state -> UInt32? in
            guard !state.isAsking, state.queue.writtenCount > 0 else { return nil }
            state.isAsking = true
            return state.queue.sent
        }
        guard let sent else { return }
        let id = host.nextIdentifier()
        let ping = Element(
            "iq", Namespaces.client,
            [("from", key.local), ("to", key.remote), ("type", "get"), ("id", id)],
            [Element("ping", "urn:xmpp:ping")])
        let origin = stream.origin
        let asked = stream.loop.eventLoop.now
        host.requests.expect(
            id, from: JID(bare: BareJID(preparedDomain: key.remote)), within: Self.answerTime,
            on: stream.loop.eventLoop
        ) { answer in
            origin.run {
                guard let stream = origin.streamHere, stream.outlet === self else { return }
                let waited = stream.loop.eventLoop.now - asked
                if answer == nil, waited < Self.answerTime {
                    // Too much is asked of others at this moment.
                    self.askLater(stream)
                } else {
                    self.conclude(sent, isAnswered: answer != nil, stream)
                }
            }
        }
        stream.send(XMLWriter.bytes(ping, contentNamespace: Namespaces.client))
    }

    private func askLater(_ stream: PeerStream) {
        let origin = stream.origin
        stream.loop.eventLoop.scheduleTask(in: Self.answerTime) {
            origin.run {
                guard let stream = origin.streamHere, stream.outlet === self else { return }
                self.state.withLock { $0.isAsking = false }
                self.ask(stream)
            }
        }
    }

    /// The answer has come, or none in time. A server that has answered before and does not now
    /// has stopped reading, and what it did not answer for is sent again. Of one that never
    /// answers nobody can know more than its TCP says: sockets to servers have a TCP_USER_TIMEOUT
    /// that is shorter than this time, so a stream that still stands and takes more has had
    /// everything acknowledged.
    private func conclude(_ sent: UInt32, isAnswered: Bool, _ stream: PeerStream) {
        let answers = state.withLock { state in
            state.isAsking = false
            // It goes once more, not again and again: the answers' way back may be what broke.
            defer { state.hasAnswered = isAnswered }
            return state.hasAnswered
        }
        guard isAnswered || !answers && stream.takesStanzas else {
            return stream.end(StreamError(.connectionTimeout, "no answer"))
        }
        _ = acknowledge(sent, on: stream)
        ask(stream)
    }
}
