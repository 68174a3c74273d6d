// The glue between a channel and a client's stream: bytes one way, bytes the other way, TLS put
// under it when the stream asks. No protocol here. Owner: the channel's event loop.

internal import Engine
internal import NIOCore
internal import SASL
internal import TLS

final class ClientConnection: ChannelInboundHandler, StreamTransport {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// After the stream has ended, the peer may send this much more, which is thrown away.
    private static let lingerBytes = 4_194_304

    private let host: Host
    private let loop: Loop
    private let connection: ConnectionDescription
    private let tls: TLSServerContext?
    private var tlsHandler: TLSHandler?
    private var context: ChannelHandlerContext?
    private var stream: ClientStream?
    private var isClosing = false
    private var thrownAway = 0

    /// - Parameters:
    ///   - tls: what STARTTLS begins with; nil if it cannot be had.
    ///   - tlsHandler: for direct TLS, the handler that stands before this one.
    init(
        host: Host, loop: Loop, connection: ConnectionDescription, tls: TLSServerContext?,
        tlsHandler: TLSHandler?
    ) {
        self.host = host
        self.loop = loop
        self.connection = connection
        self.tls = tls
        self.tlsHandler = tlsHandler
    }

    // MARK: The channel's events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        stream = ClientStream(
            host: host, loop: loop, transport: self, description: connection)
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
            stream?.didSecure(version == .tls13 ? .tls13 : .tls12)
        case TLSEvent.closedByPeer, TLSEvent.truncated, ChannelEvent.inputClosed:
            // The client sends no more; what is written reaches it before the end.
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
        if error is TLSError { stream?.didFailToSecure() }
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
        host.admission.leave(
            address: connection.network, wasAuthenticated: stream.isAuthenticated)
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
        guard let context, let tls else { return }
        let handler = tls.makeHandler()
        tlsHandler = handler
        do {
            try context.pipeline.syncOperations.addHandler(handler, position: .first)
        } catch {
            context.close(promise: nil)
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
}
