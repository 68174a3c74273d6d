// Keeps one connection within its limits: one request after the other, each whole in time and in
// order, and answers itself what must not reach the program.

internal import NIOCore
internal import NIOHTTP1
internal import TLS

/// Stands behind the parser of HTTP/1.1. Whatever handles requests behind it sees complete, checked
/// heads, one request at a time, and an error where a body does not come to its end.
///
/// Owned by the channel's event loop.
final class RequestGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    enum Phase {
        /// TLS is not there yet.
        case handshaking
        /// Nothing of a request has come.
        case idle
        /// Some of its head has come.
        case head
        /// The head has been passed on, the body is on its way.
        case body
        /// The request is whole; the answer has not been sent.
        case answering
        /// The last answer has been sent; the client gets some time to read it.
        case closing
    }

    let limits: WebLimits
    let metrics: WebMetrics
    /// Whether a body is worth sending: method, path and length.
    private let takesBody: @Sendable (String, String, Int?) -> Bool

    private(set) var phase = Phase.handshaking
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    /// Parts of the requests behind the one that is being answered.
    private var held = CircularBuffer<HTTPServerRequestPart>(initialCapacity: 0)
    private var heldRequests = 0
    /// More came than are held; the rest is lost, and the connection ends with what is held.
    private var isTooFarAhead = false
    private var heldError: (any Error)?
    private var readIsPending = false

    private var requests = 0
    private var startedAt = NIODeadline.uptimeNanoseconds(0)
    private var idleSince = NIODeadline.uptimeNanoseconds(0)
    private var answerBegan = false
    private var status = 0
    /// This answer is the last one.
    private var closesAfter = false
    /// The client sends nothing more.
    private var inputEnded = false

    /// Bytes that have come without a part of a request.
    private var unparsed = 0
    /// Whether those hold the end of a line.
    private var sawLine = false
    private var discarded = 0

    init(
        _ limits: WebLimits, metrics: WebMetrics,
        takesBody: @escaping @Sendable (String, String, Int?) -> Bool
    ) {
        self.limits = limits
        self.metrics = metrics
        self.takesBody = takesBody
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        setTimer(limits.handshakeTime)
    }

    func handlerRemoved(context: ChannelHandlerContext) { release() }

    func channelInactive(context: ChannelHandlerContext) {
        // Without an error, what has come of a body would pass for the whole.
        if phase == .body { context.fireErrorCaught(ChannelError.eof) }
        phase = .closing
        release()
        context.fireChannelInactive()
    }

    private func release() {
        timer?.cancel()
        timer = nil
        context = nil
        held.removeAll()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSEvent.handshakeCompleted:
            guard phase == .handshaking else { return }
            becomeIdle()
        case TLSEvent.closedByPeer, TLSEvent.truncated, ChannelEvent.inputClosed:
            endInput(context)
        case is PlaceIsWanted:
            let idle = NIODeadline.now() - idleSince
            if phase == .idle, idle >= TimeAmount(limits.secureIdleTime) {
                context.close(promise: nil)
            }
        case is ChannelShouldQuiesceEvent:
            closesAfter = true
            if phase == .handshaking || phase == .idle { context.close(promise: nil) }
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func endInput(_ context: ChannelHandlerContext) {
        inputEnded = true
        // A request that is whole gets its answer: not every client keeps its end open for that.
        if phase != .answering { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is TLSError:
            // The handler has closed, or will.
            if phase == .handshaking { metrics.refused(.tls) }
        case HTTPParserError.invalidEOFState:
            endInput(context)
        case is HTTPParserError:
            if phase == .answering { heldError = error } else { refuse(parserProblem(error)) }
        default:
            context.close(promise: nil)
        }
    }

    private func parserProblem(_ error: any Error) -> RequestChecks.Problem {
        guard (error as? HTTPParserError) == .headerOverflow else { return .malformed }
        return tooMuchHead
    }

    private var tooMuchHead: RequestChecks.Problem {
        RequestChecks.Problem(status: sawLine || phase == .body ? 431 : 414, reason: .headers)
    }

    // MARK: Bytes, before they are parsed

    /// Some bytes are about to be parsed; false when they must not be.
    func bytesArrived(_ bytes: ByteBuffer) -> Bool {
        switch phase {
        case .handshaking, .closing:
            discarded += bytes.readableBytes
            if discarded > WebLimits.lingeringBytes { context?.close(promise: nil) }
            return false
        case .idle: begin()
        case .head, .body, .answering: break
        }
        if phase == .head, !sawLine {
            // Empty lines may come first (RFC 9112 section 2.2).
            let line = bytes.readableBytesView.drop { $0 == 0x0D || $0 == 0x0A }
            sawLine = line.contains(0x0A)
        }
        unparsed += bytes.readableBytes
        return true
    }

    /// They have been parsed. Lines that never end yield no part of a request and must not go on
    /// for ever.
    func bytesParsed() {
        guard phase == .head || phase == .body else { return }
        if unparsed > limits.headerBytes + 4096 { refuse(tooMuchHead) }
    }

    private func becomeIdle() {
        phase = .idle
        idleSince = .now()
        setTimer(limits.idleTime)
    }

    private func begin() {
        phase = .head
        startedAt = .now()
        sawLine = false
        answerBegan = false
        setTimer(limits.requestTime)
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = Self.unwrapInboundIn(data)
        unparsed = 0
        switch phase {
        case .answering: hold(part)
        case .handshaking, .closing: break
        case .idle, .head, .body: take(part, context)
        }
    }

    private func hold(_ part: HTTPServerRequestPart) {
        if case .head = part {
            heldRequests += 1
            isTooFarAhead = isTooFarAhead || heldRequests > WebLimits.pipelined
        }
        // What is too far ahead is not answered; the client sees the end and sends it again.
        guard !isTooFarAhead else { return }
        held.append(part)
    }

    private func take(_ part: HTTPServerRequestPart, _ context: ChannelHandlerContext) {
        switch part {
        case .head(let head):
            if phase == .idle { begin() }
            do throws(RequestChecks.Problem) {
                try take(head, try RequestChecks.target(head), context)
            } catch {
                refuse(error)
            }
        case .body:
            context.fireChannelRead(Self.wrapInboundOut(part))
        case .end:
            phase = .answering
            // Trailers are nobody's business.
            context.fireChannelRead(Self.wrapInboundOut(.end(nil)))
        }
    }

    private func take(
        _ head: HTTPRequestHead, _ target: WebTarget, _ context: ChannelHandlerContext
    ) throws(RequestChecks.Problem) {
        var head = head
        head.uri = target.text
        requests += 1
        phase = .body
        // The parser stops behind a request for an upgrade.
        if !head.isKeepAlive || head.version == .http1_0 || head.headers.contains(name: "upgrade")
            || requests >= limits.requestsPerConnection
        {
            closesAfter = true
        }
        if head.version == .http1_1, head.headers.contains(name: "expect") {
            let length = head.headers.first(name: "content-length").flatMap { Int($0) }
            if takesBody(head.method.rawValue, target.path, length) {
                let go = HTTPResponseHead(version: .http1_1, status: .continue)
                context.writeAndFlush(Self.wrapOutboundOut(.head(go)), promise: nil)
            }
        }
        context.fireChannelRead(Self.wrapInboundOut(.head(head)))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // Whoever is behind does not ask for what it will not get.
        if phase == .closing { context.read() }
    }

    /// Nothing is read while a request is answered.
    func read(context: ChannelHandlerContext) {
        if phase == .answering { readIsPending = true } else { context.read() }
    }

    // MARK: Answers

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        guard phase == .body || phase == .answering else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        switch Self.unwrapOutboundIn(data) {
        case .head(var head) where !(100..<200).contains(head.status.code):
            answerBegan = true
            status = Int(head.status.code)
            // The rest of the body is not waited for.
            if phase == .body || isBehindLimit { closesAfter = true }
            finish(&head)
            context.write(Self.wrapOutboundOut(.head(head)), promise: promise)
        case .end:
            let sent = promise ?? context.eventLoop.makePromise(of: Void.self)
            sent.futureResult.assumeIsolated().whenSuccess { self.answerSent() }
            context.write(data, promise: sent)
        case .head, .body:
            context.write(data, promise: promise)
        }
    }

    private var isBehindLimit: Bool {
        (isTooFarAhead || inputEnded) && held.isEmpty && heldError == nil
    }

    /// What every answer has.
    private func finish(_ head: inout HTTPResponseHead) {
        head.headers.replaceOrAdd(name: "Date", value: WebDate.now)
        head.headers.replaceOrAdd(name: "X-Content-Type-Options", value: "nosniff")
        for (name, value) in [
            ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ] where !head.headers.contains(name: name) {
            head.headers.add(name: name, value: value)
        }
        if closesAfter { head.headers.replaceOrAdd(name: "Connection", value: "close") }
    }

    /// The network has taken all of an answer.
    private func answerSent() {
        guard phase == .body || phase == .answering else { return }
        count()
        guard !closesAfter, phase == .answering else { return startClosing() }
        becomeIdle()
        takeHeld()
        guard phase != .closing, let context else { return }
        // The rest of what was held is not there or not whole.
        if inputEnded, phase != .answering { return context.close(promise: nil) as Void }
        if readIsPending, phase != .answering {
            readIsPending = false
            context.read()
        }
    }

    private func takeHeld() {
        while phase != .answering, phase != .closing, let context, let part = held.popFirst() {
            if case .head = part { heldRequests -= 1 }
            take(part, context)
            if phase == .answering { context.fireChannelReadComplete() }
        }
        guard held.isEmpty, phase != .answering, phase != .closing else { return }
        if let error = heldError {
            heldError = nil
            if phase == .idle { begin() }
            refuse(parserProblem(error))
        } else if isTooFarAhead {
            startClosing()
        }
    }

    private func count() {
        let seconds = Double((NIODeadline.now() - startedAt).nanoseconds) / 1e9
        metrics.answered(status, seconds: seconds)
    }

    // MARK: Refusals and the end

    /// Answers in the program's place and closes.
    private func refuse(_ problem: RequestChecks.Problem) {
        guard phase != .closing, let context else { return }
        metrics.refused(problem.reason)
        if phase == .body { context.fireErrorCaught(ChannelError.eof) }
        guard !answerBegan, phase != .handshaking else {
            context.close(promise: nil)
            return
        }
        status = problem.status
        closesAfter = true
        let text = ByteBuffer(bytes: WebResponse.problemBody(status, "the request is refused"))
        var head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: status),
            headers: [
                "Content-Length": "\(text.readableBytes)",
                "Content-Type": WebResponse.problemType,
            ])
        finish(&head)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(Self.wrapOutboundOut(.body(.byteBuffer(text))), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        count()
        startClosing()
    }

    func close(
        context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
    ) {
        if mode == .all, phase == .closing {
            // The timer does it.
            return context.channel.closeFuture.cascade(to: promise)
        }
        guard mode == .output else { return context.close(mode: mode, promise: promise) }
        // The answer goes first.
        if phase == .answering || phase == .body {
            closesAfter = true
        } else {
            startClosing()
        }
        promise?.succeed()
    }

    /// Says that nothing more comes, and leaves the connection for as long as a client needs to
    /// read the answer: closing at once would take back what it has not read (RFC 9112 section
    /// 9.6).
    private func startClosing() {
        guard phase != .closing, let context else { return }
        if phase == .body { context.fireErrorCaught(ChannelError.eof) }
        phase = .closing
        held.removeAll()
        setTimer(WebLimits.lingering)
        if inputEnded {
            context.close(promise: nil)
        } else {
            context.close(mode: .output, promise: nil)
            context.read()
        }
    }

    private func setTimer(_ time: Duration) {
        timer?.cancel()
        timer = context?.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(time)) {
            self.timeIsOver()
        }
    }

    private func timeIsOver() {
        switch phase {
        case .handshaking:
            metrics.refused(.handshakeTime)
            context?.close(promise: nil)
        case .idle, .closing:
            context?.close(promise: nil)
        case .head, .body, .answering:
            guard !answerBegan else {
                metrics.refused(.slowReader)
                context?.close(promise: nil)
                return
            }
            // Theirs, or ours.
            refuse(
                RequestChecks.Problem(
                    status: phase == .answering ? 503 : 408, reason: .requestTime))
        }
    }
}
