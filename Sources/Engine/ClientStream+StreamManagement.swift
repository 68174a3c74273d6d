// XEP-0198 on the wire: `<enable/>`, `<resume/>`, `<r/>` and `<a/>`. A stanza of the client's
// counts in `h` once its effect is committed; a stanza to it is kept until the client has it.

internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import TLS
internal import XML
internal import XMPP

/// A session's counters, once stream management is enabled.
struct StreamManagement: Sendable {
    static let namespace = "urn:xmpp:sm:3"
    /// So many stanzas are written before the client is asked at once what it got.
    static let requestAfter = 16

    /// How many stanzas the client had sent before.
    let base: UInt32
    /// How long the session waits for its client, in seconds; nil if it cannot be resumed.
    var resumptionTime: Int?
    /// The stream's number in the database; nil if it cannot be resumed.
    var streamNumber: Int64?
    /// An `<a/>` waits until the client reads again.
    var owesAnswer = false
    /// When the client was asked what it got; nil once it has answered.
    var requestedAt: NIODeadline?
    /// Stanzas written since then.
    var unrequested = 0

    /// `<failed/>`, after which the stream goes on.
    ///
    /// - Parameter handled: how many stanzas of the session that is gone were handled.
    static func failed(_ condition: StanzaError.Condition, handled: UInt32? = nil) -> [UInt8] {
        XMLWriter.bytes(
            Element(
                "failed", namespace, handled.map { [("h", String($0))] } ?? [],
                [Element(condition.rawValue, Namespaces.stanzaErrors)]),
            contentNamespace: Namespaces.client)
    }

    /// The stream error for an `h` that is too high (section 6).
    static func tooHigh(_ handled: UInt32, sent: UInt32) -> StreamError {
        StreamError(
            .undefinedCondition, "you acknowledge more than you were sent",
            application: Element(
                "handled-count-too-high", namespace,
                [("h", String(handled)), ("send-count", String(sent))]))
    }

    /// A boolean as XML Schema has it.
    static func isTrue(_ text: String?) -> Bool { text == "true" || text == "1" }
}

/// What a client wants to resume.
struct ResumptionRequest {
    let previousID: String
    let handled: UInt32

    /// Reads `<resume/>`, nil for a broken one.
    init?(_ fragment: Fragment) {
        guard fragment.isNamed("resume", "urn:xmpp:sm:3") else { return nil }
        let element = fragment.element()
        guard let previousID = element["previd"], previousID.utf8.count <= 4000,
            let handled = element["h"].flatMap({ UInt32($0) })
        else { return nil }
        self.previousID = previousID
        self.handled = handled
    }
}

extension ClientStream {
    /// Handles a first-level element that is no stanza, of a client that has a session. False if
    /// it is none of stream management's.
    func manage(_ fragment: Fragment, _ state: SessionState) -> Bool {
        guard fragment.namespace == StreamManagement.namespace else { return false }
        switch fragment.text(fragment.name) {
        case "enable":
            guard state.management == nil else { return refuseManagement(.unexpectedRequest) }
            enable(fragment.element(), state)
        case "resume":
            return refuseManagement(.unexpectedRequest)
        case "r":
            guard state.management != nil else { return refuseManagement(.unexpectedRequest) }
            acknowledge()
        case "a":
            guard state.management != nil else { return refuseManagement(.unexpectedRequest) }
            guard let handled = fragment.element()["h"].flatMap({ UInt32($0) }) else {
                end(StreamError(.badFormat, "an <a/> has an h"))
                return true
            }
            if case .tooHigh(let sent) = state.acknowledge(handled) {
                host.metrics.refusals[.acknowledgement].add(1, cell: loop.cell)
                end(StreamManagement.tooHigh(handled, sent: sent))
            }
        default:
            return false
        }
        return true
    }

    private func enable(_ element: Element, _ state: SessionState) {
        var management = StreamManagement(base: state.inbound.received)
        var answer = Element("enabled", StreamManagement.namespace)
        if StreamManagement.isTrue(element["resume"]), host.limits.hibernation.value > .zero {
            let longest = Int(host.limits.hibernation.value.components.seconds)
            let wanted = element["max"].flatMap { Int($0) } ?? longest
            let time = max(1, min(wanted, longest))
            let id = SecureRandom.identifier(bytes: 18)
            management.resumptionTime = time
            management.streamNumber = StreamPosition.stream(named: id)
            state.session.resumptionID = id
            answer["id"] = id
            answer["resume"] = "true"
            answer["max"] = String(time)
        }
        state.management = management
        state.contents.queue.isManaged = true
        state.countUnacknowledged()
        send(XMLWriter.bytes(answer, contentNamespace: Namespaces.client))
    }

    private func refuseManagement(_ condition: StanzaError.Condition) -> Bool {
        send(StreamManagement.failed(condition))
        return true
    }

    /// Says how far the server is. A client that does not read hears it when it does.
    func acknowledge() {
        guard let state, let management = state.management else { return }
        guard !output.isCongested else {
            state.management?.owesAnswer = true
            return
        }
        let handled = state.inbound.request(since: management.base)
        state.management?.owesAnswer = false
        send(Array("<a xmlns='urn:xmpp:sm:3' h='\(handled)'/>".utf8))
    }

    /// Asks the client what it got. One that does not read is not asked.
    func requestAcknowledgement() {
        guard let state, state.management != nil, takesStanzas else { return }
        state.management?.requestedAt = loop.eventLoop.now
        state.management?.unrequested = 0
        send(Array("<r xmlns='urn:xmpp:sm:3'/>".utf8))
    }

    // MARK: Resumption (section 5)

    /// Takes over the session of an earlier stream.
    func resume(_ request: ResumptionRequest) {
        guard let account = negotiation.account else { return }
        let session = host.sessions.sessions(of: account).first {
            $0.resumptionID == request.previousID
        }
        pause()
        isWaiting = true
        guard let session else { return resumptionFailed(request) }
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        session.resume(handled: request.handled, on: loop) { result in
            stream.value.conclude(request, result)
        }
    }

    private func conclude(_ request: ResumptionRequest, _ result: Session.Resumption) {
        isWaiting = false
        switch result {
        case .resumed(let state):
            guard !hasEnded, !host.isStopping else {
                state.value.hibernate()
                return end(StreamError(.systemShutdown))
            }
            take(over: state.value, request)
        case .notFound:
            guard !hasEnded else { return }
            resumptionFailed(request)
        case .tooHigh(let sent):
            guard !hasEnded else { return }
            host.metrics.refusals[.acknowledgement].add(1, cell: loop.cell)
            end(StreamManagement.tooHigh(request.handled, sent: sent))
        }
    }

    private func take(over state: SessionState, _ request: ResumptionRequest) {
        self.state = state
        state.attach(self)
        state.session.address = description.address
        negotiation.finish()
        setDeadline(nil)
        host.metrics.resumptions[.resumed].add(1, cell: loop.cell)
        if let account = negotiation.account { noteLogin(account) }
        let handled = state.inbound.request(since: state.management?.base ?? 0)
        var answer = Element("resumed", StreamManagement.namespace)
        answer["previd"] = request.previousID
        answer["h"] = String(handled)
        send(XMLWriter.bytes(answer, contentNamespace: Namespaces.client))
        if let account = negotiation.account, host.revocations.contains(account, since: loggedInAt)
        {
            return end(StreamError(.notAuthorized, "the account was closed meanwhile"))
        }
        state.writeQueue()
        state.noteActive()
        goOn()
    }

    /// Says how far the session was, if that is known, so that the client can tell what to send
    /// again. What still waits for the disk counts, too.
    private func resumptionFailed(_ request: ResumptionRequest) {
        isWaiting = true
        host.metrics.resumptions[.failed].add(1, cell: loop.cell)
        guard let account = negotiation.account else { return }
        let number = StreamPosition.stream(named: request.previousID)
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let host = host
        host.database.writer.afterQueued {
            host.database.read({ try MessageStore.handled($0, number, of: account) }) { result in
                loop.eventLoop.execute {
                    let stream = stream.value
                    guard !stream.hasEnded else { return }
                    stream.isWaiting = false
                    stream.negotiation.goOn()
                    let handled = (try? result.get()) ?? nil
                    stream.send(StreamManagement.failed(.itemNotFound, handled: handled))
                    stream.goOn()
                }
            }
        }
    }
}
