// control.sock: administration requests as HTTP with JSON bodies, for the commands of this
// program. Only the service's own user gets to the socket: its directory is private.

public import Administration
internal import Foundation
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
public import NIOPosix

/// The listening control socket. Safe on any thread.
public final class ControlSocket: Sendable {
    static let path = "/v1/administration"
    /// Nothing that an administrator asks for is larger.
    static let largestRequest = 65_536

    private let channel: any Channel
    private let file: String
    private let threads: NIOThreadPool

    private init(channel: any Channel, file: String, threads: NIOThreadPool) {
        self.channel = channel
        self.file = file
        self.threads = threads
    }

    /// Binds the socket; a file left over from a crash is replaced, as the lock says that nobody
    /// else uses it.
    public static func open(
        file: String, administrator: Administrator, group: MultiThreadedEventLoopGroup
    ) async throws -> ControlSocket {
        let threads = NIOThreadPool(numberOfThreads: 2)
        threads.start()
        let bootstrap = ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline()
                    try pipeline.addHandler(
                        ControlRequestHandler(administrator: administrator, threads: threads))
                }
            }
        do {
            let path = ControlSocketPath(file)
            unlink(path.text)
            let channel = try await bootstrap.bind(unixDomainSocketPath: path.text).get()
            chmod(path.text, 0o600)
            return ControlSocket(channel: channel, file: file, threads: threads)
        } catch {
            try? await threads.shutdownGracefully()
            throw ListenError(error, subject: file, key: "data_dir")
        }
    }

    /// Takes no more requests.
    public func close() async {
        try? await channel.close()
        unlink(ControlSocketPath(file).text)
        try? await threads.shutdownGracefully()
    }
}

/// One connection to the control socket.
private final class ControlRequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let administrator: Administrator
    private let threads: NIOThreadPool
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()
    private var isTooLarge = false

    init(administrator: Administrator, threads: NIOThreadPool) {
        self.administrator = administrator
        self.threads = threads
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body.clear()
            isTooLarge = false
        case .body(var part):
            guard body.readableBytes + part.readableBytes <= ControlSocket.largestRequest else {
                isTooLarge = true
                return
            }
            body.writeBuffer(&part)
        case .end:
            answer(context)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard let head, head.uri == ControlSocket.path else {
            return respond(context, .notFound, AdministrationAnswer(error: "no such path"))
        }
        guard head.method == .POST else {
            return respond(context, .methodNotAllowed, AdministrationAnswer(error: "use POST"))
        }
        guard !isTooLarge else {
            return respond(context, .payloadTooLarge, AdministrationAnswer(error: "too large"))
        }
        let bytes = Data(body.readableBytesView)
        guard let request = try? JSONDecoder().decode(AdministrationRequest.self, from: bytes)
        else {
            return respond(
                context, .badRequest,
                AdministrationAnswer(
                    error: "this server does not know the request; is it an older version?"))
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let administrator = administrator
        threads.runIfActive(eventLoop: context.eventLoop) {
            administrator.perform(request)
        }.whenComplete { result in
            let (handler, context) = bound.value
            let answer =
                (try? result.get()) ?? AdministrationAnswer(error: "the server is stopping")
            handler.respond(context, .ok, answer)
        }
    }

    private func respond(
        _ context: ChannelHandlerContext, _ status: HTTPResponseStatus,
        _ answer: AdministrationAnswer
    ) {
        let bytes = (try? JSONEncoder().encode(answer)) ?? Data()
        var head = HTTPResponseHead(version: .http1_1, status: status)
        head.headers.add(name: "Content-Type", value: "application/json")
        head.headers.add(name: "Content-Length", value: "\(bytes.count)")
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(
            Self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
    }
}
