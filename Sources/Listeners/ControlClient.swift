// The other end of control.sock: what a command says to the running server.

public import Administration
internal import Foundation
public import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// A failure to talk to the running server.
public struct ControlError: Error, Sendable, CustomStringConvertible {
    /// One line for a person.
    public let description: String
}

/// Sends requests to the control socket, one connection each.
public struct ControlClient: Sendable {
    private let file: String
    private let group: any EventLoopGroup

    /// - Parameter file: the socket.
    public init(file: String, group: any EventLoopGroup) {
        self.file = file
        self.group = group
    }

    /// Sends one request and waits for its answer, at most a minute.
    public func send(_ request: AdministrationRequest) async throws -> AdministrationAnswer {
        let body = try JSONEncoder().encode(request)
        let promise = group.next().makePromise(of: AdministrationAnswer.self)
        let channel: any Channel
        do {
            let path = ControlSocketPath(file)
            channel = try await ClientBootstrap(group: group)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHTTPClientHandlers()
                        try pipeline.addHandler(ControlAnswerHandler(promise: promise))
                    }
                }
                .connect(unixDomainSocketPath: path.text).get()
        } catch {
            let failure = ControlError(
                description: "the server holds the data but does not answer on \(file): \(error); "
                    + "if it is starting or stopping, try again in a moment")
            promise.fail(failure)
            throw failure
        }
        let timeout = channel.eventLoop.scheduleTask(in: .seconds(60)) {
            promise.fail(ControlError(description: "the server did not answer within a minute"))
        }
        var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: ControlSocket.path)
        head.headers.add(name: "Host", value: "localhost")
        head.headers.add(name: "Content-Type", value: "application/json")
        head.headers.add(name: "Content-Length", value: "\(body.count)")
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        channel.write(
            HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        defer {
            timeout.cancel()
            channel.close(promise: nil)
        }
        return try await promise.futureResult.get()
    }
}

/// Collects one answer.
private final class ControlAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    /// A list of a hundred thousand users is some megabytes.
    private static let largestAnswer = 67_108_864

    private let promise: EventLoopPromise<AdministrationAnswer>
    private var body = ByteBuffer()

    init(promise: EventLoopPromise<AdministrationAnswer>) {
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head: break
        case .body(var part):
            guard body.readableBytes + part.readableBytes <= Self.largestAnswer else {
                promise.fail(ControlError(description: "the server's answer is too large"))
                return context.close(promise: nil)
            }
            body.writeBuffer(&part)
        case .end:
            do {
                let bytes = Data(body.readableBytesView)
                promise.succeed(try JSONDecoder().decode(AdministrationAnswer.self, from: bytes))
            } catch {
                promise.fail(
                    ControlError(
                        description: "the running server answers in a way that this program does "
                            + "not understand; is it another version?"))
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(ControlError(description: "the server broke off: \(error)"))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(ControlError(description: "the server closed the connection"))
        context.fireChannelInactive()
    }
}
