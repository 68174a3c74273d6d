// Domains that a part of this program answers for: the same to everybody as a component's
// (XEP-0114), but without a stream. Local clients, the server itself, components and, where the
// rules allow it, other servers reach them.

internal import Addresses
internal import NIOCore
public import XML
public import XMPP

/// What answers for a domain within this process.
public protocol LocalService: AnyObject, Sendable {
    /// Its domain, prepared; none of the server's own and no component's.
    var domain: String { get }

    /// Takes a stanza for the domain or any address at it, whose sender was checked; false if it
    /// has no use for it, and then a request or a message comes back to its sender as
    /// `service-unavailable`. An answer to a request of the service's own comes here, too.
    ///
    /// Always called on the same event loop, in the order in which stanzas come, and must not
    /// block. The sender's server has been told that the stanza is handled (XEP-0198).
    func receive(_ stanza: Stanza, _ host: Host) -> Bool
}

/// A service as a source of stanzas. Nothing of it waits for the disk: it is told of nothing.
final class ServiceOrigin: StanzaOrigin {
    let number = Session.nextNumber()
    let openCount = 0
    private let loop: Loop

    init(_ loop: Loop) { self.loop = loop }

    func hold(_ stanza: Stanza) -> UInt32? { nil }

    func release(_ number: UInt32) {}

    func run(_ body: @escaping @Sendable () -> Void) {
        if loop.eventLoop.inEventLoop { body() } else { loop.post(body) }
    }

    func resume(_ number: UInt32, _ body: @escaping @Sendable () -> Void) { run(body) }

    /// Runs something on the loop, but not within what runs there now.
    func post(_ body: @escaping @Sendable () -> Void) { loop.post(body) }
}

extension Host {
    /// Sends a stanza of a service's to anybody: a local client or account, this server itself, a
    /// component, another server. What cannot be sent comes back to the service as an error, as
    /// to any other domain. Any thread.
    ///
    /// - Parameter stanza: a message, presence or IQ in `jabber:client`, with both addresses.
    /// - Returns: false if it is none, or its `from` is not at the service's domain.
    @discardableResult
    public func send(_ stanza: Element, from service: any LocalService) -> Bool {
        send(XMLWriter.bytes(stanza, contentNamespace: Namespaces.client), from: service)
    }

    /// The same with the stanza as bytes.
    @discardableResult
    public func send(_ bytes: [UInt8], from service: any LocalService) -> Bool {
        guard let origin = components[service.domain]?.origin(of: service),
            let stanza = Stanza(routed: bytes), stanza.to != nil,
            stanza.from.domain == service.domain
        else { return false }
        origin.run { self.handle(stanza, from: origin) }
        return true
    }

    /// Answers a request that a service got, whoever sent it. Any thread.
    public func answer(
        _ request: IQRequest, _ result: Result<Element?, StanzaError>,
        from service: any LocalService
    ) {
        switch result {
        case .success(let payload): send(request.resultBytes(payload), from: service)
        case .failure(let error): send(request.stanza.errorBytes(error), from: service)
        }
    }

    /// Hands a stanza to a service, on its loop.
    func hand(_ stanza: OutboundStanza, to service: any LocalService, _ origin: ServiceOrigin) {
        guard let stanza = Stanza(routed: stanza.bytes), !service.receive(stanza, self)
        else { return }
        refuse(stanza, origin)
    }

    /// RFC 6120 section 10.4 and RFC 6121 section 8.5.1: nobody waits for an answer to presence, and
    /// an error or a result is never answered.
    private func refuse(_ stanza: Stanza, _ origin: ServiceOrigin) {
        switch stanza.kind {
        case .presence: return
        case .message: if stanza.isError || stanza.isType("headline") { return }
        case .iq: guard stanza.isType("get") || stanza.isType("set") else { return }
        }
        guard
            let error = Stanza(
                routed: stanza.errorBytes(StanzaError(.serviceUnavailable)))
        else { return }
        handle(error, from: origin)
    }
}
