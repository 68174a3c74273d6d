// The glue between a channel and a stream: bytes one way, bytes the other way, TLS put under it
// when the stream asks. No protocol here. Owner: the channel's event loop.

internal import Addresses
internal import Engine
internal import NIOCore
internal import SASL
internal import TLS

final class StreamConnection: ChannelInboundHandler, StreamTransport {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How TLS begins when the stream asks for it.
    enum Role {
        /// It cannot be had.
        case plain
        case server(TLSServerContext)
        case client(OutgoingTLS)
    }

    /// Where a connection was admitted, and under which address.
    struct Place {
        let admission: Admission
        let address: String
    }

    /// After the stream has ended, the peer may send this much more, which is thrown away.
    private static let lingerBytes = 4_194_304

    /// Plain once TLS is there: it begins once.
    private var role: Role
    private let place: Place?
    private var makeStream: ((any StreamTransport) -> XMLStream)?
    private var tlsHandler: TLSHandler?
    private var context: ChannelHandlerContext?
    private var stream: XMLStream?
    private var isClosing = false
    private var thrownAway = 0

    /// - Parameters:
    ///   - place: what the connection leaves at its end; nil if it was opened from here.
    ///   - tlsHandler: for direct TLS in the server's role, the handler that stands before this one.
    ///   - makeStream: called once, when the handler is in a pipeline.
    init(
        _ role: Role, place: Place? = nil, tlsHandler: TLSHandler? = nil,
        makeStream: @escaping (any StreamTransport) -> XMLStream
    ) {
        self.role = role
        self.place = place
        self.tlsHandler = tlsHandler
        self.makeStream = makeStream
    }

    // MARK: The channel's events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        stream = makeStream?(self)
        makeStream = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        guard !isClosing else {
            thrownAway += bytes.readableBytes
            if thrownAway > Self.lingerBytes { context.close(promise: nil) }
            return
        }
        stream?.receive(bytes)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stream?.setWritable(context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSEvent.handshakeCompleted(let version, _, _):
            if case .client(let tls) = role { tls.didSecure(version, cipher) }
            role = .plain
            stream?.didSecure(version == .tls13 ? .tls13 : .tls12)
        case TLSEvent.closedByPeer, TLSEvent.truncated, ChannelEvent.inputClosed:
            // The peer sends no more; what is written reaches it before the end.
            if isClosing {
                context.close(promise: nil)
            } else {
                stream?.endOfInput()
            }
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is TLSError { stream?.didFailToSecure("\(error)") }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        forget()
        context.fireChannelInactive()
    }

    /// The last event of all, also for a channel that never became active.
    func handlerRemoved(context: ChannelHandlerContext) {
        forget()
        self.context = nil
    }

    private func forget() {
        guard let stream else { return }
        // The two refer to each other.
        self.stream = nil
        tlsHandler = nil
        stream.didClose()
        place?.admission.leave(
            address: place?.address ?? "", wasAuthenticated: stream.isAuthenticated)
    }

    // MARK: StreamTransport

    func write(_ bytes: ByteBuffer, then: (() -> Void)?) {
        guard let context else { return }
        guard let then else {
            return context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil)
        }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess(then)
        context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: written)
    }

    func close() {
        guard let context, !isClosing else { return }
        isClosing = true
        // Nothing can be said before TLS is there.
        if let tlsHandler, !tlsHandler.handshakeIsComplete {
            return context.close(promise: nil)
        }
        // Closing at once would throw away what the kernel has not sent, the error that says why
        // among it: so only our direction is closed, after what was written, and the peer closes
        // the other.
        let written = context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        written.futureResult.whenComplete { _ in
            bound.value.close(mode: .output, promise: nil)
        }
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer()), promise: written)
        setReading(true)
    }

    func abort() { context?.close(promise: nil) }

    func startTLS() {
        guard let context else { return }
        do {
            let handler: TLSHandler
            switch role {
            case .plain: return
            case .server(let tls): handler = tls.makeHandler()
            case .client(let tls): handler = try tls.makeHandler()
            }
            tlsHandler = handler
            try context.pipeline.syncOperations.addHandler(handler, position: .first)
        } catch {
            errorCaught(context: context, error: error)
        }
    }

    func setReading(_ isReading: Bool) {
        guard let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
    }

    var channelBindings: ChannelBindings {
        var accepted: [String: [[UInt8]]] = [:]
        for type in ChannelBindingType.allCases {
            accepted[type.rawValue] = tlsHandler?.channelBindings(type)
        }
        return ChannelBindings(accepted: accepted)
    }

    func verdict(for domain: String) -> CertificateVerdict {
        // A certificate may have a name in either form (RFC 6120 section 13.7.1.4).
        guard let tlsHandler, let ascii = try? Preparation.domainASCII(domain) else {
            return .absent
        }
        return tlsHandler.verdict(for: ascii, unicode: try? Preparation.domain(domain))
    }

    var peerCertificate: CertificateSummary? { tlsHandler?.peerCertificate }

    func forgetPeerCertificate() { tlsHandler?.forgetPeerCertificate() }

    var cipher: String? { tlsHandler?.cipher }
}
