// XEP-0198, the part that tells a client what is safe: `<enable/>`, `<r/>` and `<a/>`. A stanza
// counts in `h` once its effect is committed. Streams cannot be resumed yet, and the client is not
// asked what it got.

internal import NIOCore
internal import Options
internal import XML
internal import XMPP

/// A stream's counters, once stream management is enabled.
struct StreamManagement {
    static let namespace = "urn:xmpp:sm:3"

    /// How many stanzas the client had sent before.
    let base: UInt32
    /// Stanzas written to the client since `<enabled/>`, modulo 2^32.
    var sent: UInt32 = 0
    /// An `<a/>` waits until the client reads again.
    var owesAnswer = false

    /// `<failed/>`, after which the stream goes on.
    static func failed(_ condition: StanzaError.Condition) -> [UInt8] {
        XMLWriter.bytes(
            Element(
                "failed", namespace, [], [Element(condition.rawValue, Namespaces.stanzaErrors)]),
            contentNamespace: Namespaces.client)
    }
}

extension ClientStream {
    /// Handles a first-level element that is no stanza, of a client that has a session. False if
    /// it is none of stream management's.
    func manage(_ fragment: Fragment) -> Bool {
        guard fragment.namespace == StreamManagement.namespace else { return false }
        switch fragment.text(fragment.name) {
        case "enable":
            guard management == nil else { return refuseManagement(.unexpectedRequest) }
            management = StreamManagement(base: inbound.received)
            send(
                XMLWriter.bytes(
                    Element("enabled", StreamManagement.namespace),
                    contentNamespace: Namespaces.client))
        case "resume":
            return refuseManagement(.featureNotImplemented)
        case "r":
            guard management != nil else { return refuseManagement(.unexpectedRequest) }
            acknowledge()
        case "a":
            guard let management else { return refuseManagement(.unexpectedRequest) }
            guard let handled = fragment.element()["h"].flatMap({ UInt32($0) }) else {
                end(StreamError(.badFormat, "an <a/> has an h"))
                return true
            }
            // More than half the circle ahead is behind (section 4).
            if Int32(bitPattern: management.sent &- handled) < 0 {
                end(Self.tooHigh(handled, sent: management.sent))
            }
        default:
            return false
        }
        return true
    }

    private func refuseManagement(_ condition: StanzaError.Condition) -> Bool {
        send(StreamManagement.failed(condition))
        return true
    }

    private static func tooHigh(_ handled: UInt32, sent: UInt32) -> StreamError {
        StreamError(
            .undefinedCondition, "you acknowledge more than you were sent",
            application: Element(
                "handled-count-too-high", StreamManagement.namespace,
                [("h", String(handled)), ("send-count", String(sent))]))
    }

    /// Says how far the server is. A client that does not read hears it when it does.
    func acknowledge() {
        guard !output.isCongested else {
            management?.owesAnswer = true
            return
        }
        guard let management else { return }
        let handled = inbound.request(since: management.base)
        self.management?.owesAnswer = false
        send(Array("<a xmlns='urn:xmpp:sm:3' h='\(handled)'/>".utf8))
    }

    /// Keeps a stanza out of `h` until it is released. False when it counted already. On the loop.
    func hold(_ number: UInt32?) -> Bool {
        guard let number else { return false }
        return inbound.hold(number)
    }

    /// What held a stanza is done. On the loop.
    func release(_ number: UInt32) {
        guard !hasEnded else { return }
        if inbound.release(number) { acknowledge() }
        if isWaitingForDisk, inbound.openCount <= host.limits.unstored.value / 2 {
            isWaitingForDisk = false
            if pauseEnd == nil { goOn() }
        }
    }
}
