// TLS in a channel's pipeline, in either role.

public import NIOCore

/// Decrypts what a channel reads and encrypts what is written to it.
///
/// It may stand in the pipeline from the start, or be added first in it while the channel is
/// active, after STARTTLS. In the client's role it says hello then, or once the channel becomes active.
/// It cannot be removed: what comes behind it would pass in the clear.
/// Writes are kept until a flush and leave as one write to the channel. It does not limit time or
/// the length of outgoing queues: that is for the pipeline's owner, who sees the channel's
/// writability and `handshakeIsComplete`.
///
/// Fires `TLSEvent`s and, through `errorCaught`, `TLSError`s; after an error it closes the channel.
///
/// Owned by the channel's event loop.
public final class TLSHandler: ChannelDuplexHandler {
    /// Bytes of the network.
    public typealias InboundIn = ByteBuffer
    /// Bytes of the application, at most 64 KiB at once.
    public typealias InboundOut = ByteBuffer
    /// Bytes of the application.
    public typealias OutboundIn = ByteBuffer
    /// Bytes of the network.
    public typealias OutboundOut = ByteBuffer

    private enum State {
        /// The handshake is not done; writes wait.
        case handshaking
        /// Bytes flow.
        case open
        /// We have said close_notify; reading goes on.
        case outputClosed
        /// Closed or failed: nothing is read or written any more.
        case closed
    }

    /// Nil in the client's role.
    private let server: TLSServerContext?
    /// A server's is made with the first byte; gone when the channel is inactive.
    private var connection: TLSConnection?
    private var state = State.handshaking
    /// Nothing more comes from the peer: close_notify, or the end of its bytes.
    private var inputEnded = false
    private var flushAwaitsHandshake = false
    private var pending = PendingWrites()

    init(_ server: TLSServerContext) { self.server = server }

    /// A handler in the client's role.
    init(client connection: TLSConnection) {
        server = nil
        self.connection = connection
    }

    // MARK: What the handshake agreed on (call on the event loop)

    /// Whether bytes of the application can flow.
    public var handshakeIsComplete: Bool { connection?.handshakeIsComplete ?? false }

    /// The protocol version; nil before the handshake is done and after the channel has closed.
    public var version: TLSVersion? { connection?.version }

    /// OpenSSL's name of the cipher suite, such as `TLS_AES_128_GCM_SHA256`.
    public var cipher: String? { connection?.cipher }

    /// The name that the client asked for, in lower case: its claim, any text.
    public var serverName: String? { connection?.serverName }

    /// The application protocol that was chosen.
    public var applicationProtocol: String? { connection?.applicationProtocol }

    /// Whether a ticket has spared this connection the certificate and its signature.
    public var isResumed: Bool { connection?.isResumed ?? false }

    /// The data that ties an authentication to this connection; nil before the handshake is done,
    /// and where the type is not safe or not defined on this connection.
    public func channelBinding(_ type: ChannelBindingType) -> [UInt8]? {
        channelBindings(type).first
    }

    /// Every form of that data which peers are known to use, the specification's first.
    public func channelBindings(_ type: ChannelBindingType) -> [[UInt8]] {
        guard let connection else { return [] }
        return switch type {
        case .tlsExporter: connection.exporterBindings
        case .tlsServerEndPoint: connection.serverEndPointBinding.map { [$0] } ?? []
        }
    }

    // MARK: The peer's certificate (call on the event loop)

    /// What the peer's certificate proves for a domain: who vouches for it, when, whether it was
    /// revoked, then its names. `absent` before the handshake is done, after the channel has closed,
    /// and on connections of clients.
    ///
    /// - Parameters:
    ///   - domain: in ASCII (A-labels).
    ///   - unicode: the same domain in U-labels, prepared for comparison, where that is another
    ///     text; a certificate may have it so (RFC 6120 section 13.7.1.4).
    public func verdict(for domain: String, unicode: String? = nil) -> CertificateVerdict {
        guard let connection else { return .absent }
        let verdict = connection.peerCheck.verdict
        guard verdict == .valid else { return verdict }
        let isNamed =
            connection.peerCertificate?.vouchesForServer(
                of: domain.asciiLowercased, unicode: unicode?.asciiLowercased) ?? false
        return isNamed ? .valid : .wrongName
    }

    /// What the peer has shown; its texts are the peer's, and may be long.
    public var peerCertificate: CertificateSummary? {
        connection?.peerCertificate?.summary(file: "")
    }

    /// Frees what the peer has shown, once it is judged: from then on its certificate is `absent`.
    public func forgetPeerCertificate() { connection?.forgetPeerCertificate() }

    /// OpenSSL's own words for what is wrong with the peer's chain; nil where nothing is.
    public var certificateProblem: String? { connection?.peerCheck.problemText }

    /// Whether the peer's chain was compared with a revocation list that is past its time.
    public var usedOldRevocationList: Bool { connection?.peerCheck.usedOldList ?? false }

    // MARK: Reading

    /// Says hello in the client's role, if the channel is active already.
    public func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { sayHello(context) }
    }

    /// Says hello in the client's role.
    public func channelActive(context: ChannelHandlerContext) {
        sayHello(context)
        context.fireChannelActive()
    }

    private func sayHello(_ context: ChannelHandlerContext) {
        guard server == nil else { return }
        advance(context, ByteBuffer())
    }

    /// Decrypts what has come and fires it on.
    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if let server, connection == nil, state == .handshaking {
            do throws(TLSError) {
                connection = try server.makeConnection()
            } catch {
                return fail(context, error)
            }
        }
        advance(context, Self.unwrapInboundIn(data))
    }

    /// Events are fired between OpenSSL's calls, never inside them, and any of them may close the
    /// channel: hence the checks in each round.
    private func advance(_ context: ChannelHandlerContext, _ bytes: ByteBuffer) {
        var input = bytes
        while state != .closed, !inputEnded, let connection {
            var plaintext = ByteBuffer()
            let step = connection.advance(&input, into: &plaintext)
            sendOutput(of: connection, context)
            if plaintext.readableBytes > 0 {
                context.fireChannelRead(Self.wrapInboundOut(plaintext))
            }
            guard state != .closed else { return }
            switch step {
            case .needsInput:
                return
            case .plaintextFull:
                continue
            case .handshakeCompleted:
                completeHandshake(context, connection)
            case .closedByPeer:
                inputEnded = true
                context.fireUserInboundEventTriggered(TLSEvent.closedByPeer)
            case .failed(let error):
                fail(context, error)
            }
        }
    }

    /// Notices half-closure: the peer's bytes have ended, ours may go on.
    public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { endInput(context) }
        context.fireUserInboundEventTriggered(event)
    }

    /// The channel is gone: says so if the peer did not, and lets go of OpenSSL's state.
    public func channelInactive(context: ChannelHandlerContext) {
        endInput(context)
        release()
        context.fireChannelInactive()
    }

    /// Lets go of OpenSSL's state.
    public func handlerRemoved(context: ChannelHandlerContext) { release() }

    private func completeHandshake(_ context: ChannelHandlerContext, _ connection: TLSConnection) {
        state = .open
        if let version = connection.version {
            context.fireUserInboundEventTriggered(
                TLSEvent.handshakeCompleted(
                    version: version, applicationProtocol: connection.applicationProtocol,
                    serverName: connection.serverName))
        }
        if flushAwaitsHandshake, state == .open {
            flushAwaitsHandshake = false
            flush(context: context)
        }
    }

    private func endInput(_ context: ChannelHandlerContext) {
        guard !inputEnded else { return }
        inputEnded = true
        switch state {
        case .handshaking where connection != nil:
            fail(
                context,
                TLSError(
                    code: .handshakeAbandoned, operation: "complete the handshake",
                    message: "the peer has closed the connection"))
        case .open:
            context.fireUserInboundEventTriggered(TLSEvent.truncated)
        default:
            break
        }
    }

    private func release() {
        state = .closed
        connection = nil
        pending.take().fail(ChannelError.ioOnClosedChannel)
    }

    // MARK: Writing

    /// Keeps `data` until a flush.
    public func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        switch state {
        case .handshaking, .open: pending.append(Self.unwrapOutboundIn(data), promise)
        case .outputClosed: promise?.fail(ChannelError.outputClosed)
        case .closed: promise?.fail(ChannelError.ioOnClosedChannel)
        }
    }

    /// Encrypts what is kept and sends it in one write.
    public func flush(context: ChannelHandlerContext) {
        switch state {
        case .handshaking: flushAwaitsHandshake = true
        case .open: sendPending(context)
        case .outputClosed, .closed: break
        }
        context.flush()
    }

    /// Sends what is kept and close_notify, and closes without waiting for the peer's.
    public func close(
        context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
    ) {
        if mode != .input {
            if state == .open { sayGoodbye(context) }
            let unsent = pending.take()
            switch (state, mode) {
            case (.closed, _): break
            case (.open, .output), (.outputClosed, .output): state = .outputClosed
            default: state = .closed
            }
            unsent.fail(ChannelError.ioOnClosedChannel)
        }
        context.close(mode: mode, promise: promise)
    }

    private func sayGoodbye(_ context: ChannelHandlerContext) {
        sendPending(context)
        guard state == .open, let connection else { return }
        connection.shutdown()
        sendOutput(of: connection, context)
    }

    /// Encrypts and writes what is kept; the caller flushes.
    private func sendPending(_ context: ChannelHandlerContext) {
        guard !pending.isEmpty, let connection else { return }
        do throws(TLSError) {
            let promise = try pending.take().encrypt(in: connection)
            // Without output there were only empty writes, whose promises still want an answer.
            let output = connection.takeOutput() ?? ByteBuffer()
            context.write(Self.wrapOutboundOut(output), promise: promise)
        } catch {
            fail(context, error)
        }
    }

    private func sendOutput(of connection: TLSConnection, _ context: ChannelHandlerContext) {
        guard let output = connection.takeOutput() else { return }
        context.writeAndFlush(Self.wrapOutboundOut(output), promise: nil)
    }

    /// Reports `error` and closes. An alert for the peer has been sent already.
    private func fail(_ context: ChannelHandlerContext, _ error: TLSError) {
        guard state != .closed else { return }
        if let connection { sendOutput(of: connection, context) }
        state = .closed
        pending.take().fail(error)
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }
}
