// What the TLS tests share: files, clocks, and a server channel joined to a client engine.

import Glibc
import NIOCore
import NIOEmbedded
import Synchronization

@testable import TLS

/// The wall clock of these tests: when they began, because clients compare certificates with the
/// machine's clock.
let testTime = Int64(time(nil))

/// A folder that goes with its owner.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/kinglet-tls-XXXXXX".utf8CString)
        guard let path = mkdtemp(&template) else {
            throw IOError(errnoCode: errno, reason: "mkdtemp")
        }
        self.path = String(cString: path)
    }

    deinit {
        guard let directory = opendir(path) else { return }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { unlink("\(path)/\(name)") }
        }
        closedir(directory)
        rmdir(path)
    }

    /// Writes a file and gives its path.
    func write(_ name: String, _ text: String, mode: mode_t = 0o600) throws -> String {
        let file = "\(path)/\(name)"
        unlink(file)
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, mode)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "open \(file)") }
        defer { close(descriptor) }
        fchmod(descriptor, mode)
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw IOError(errnoCode: errno, reason: "write \(file)")
        }
        return file
    }
}

/// An authority with one server certificate in files.
struct Site {
    let folder: TemporaryFolder
    let authorityPEM: String
    let authorityKeyPEM: String
    let identity: TLSIdentity

    init(_ domains: String..., now: Int64 = testTime) throws {
        folder = try TemporaryFolder()
        let made = try LocalAuthority.create(
            domains: domains, authorityName: "Test authority", now: now)
        authorityPEM = made.authorityCertificatePEM
        authorityKeyPEM = made.authorityKeyPEM
        identity = TLSIdentity(
            domains: domains,
            certificateFile: try folder.write("server.crt", made.serverCertificatePEM),
            keyFile: try folder.write("server.key", made.serverKeyPEM))
    }

    /// Puts a renewed certificate and key in place of the old ones.
    func renew() throws {
        let fresh = try LocalAuthority.issue(
            domains: identity.domains, authorityKeyPEM: authorityKeyPEM,
            authorityCertificatePEM: authorityPEM, now: testTime)
        _ = try folder.write("server.crt", fresh.certificatePEM)
        _ = try folder.write("server.key", fresh.keyPEM)
    }
}

/// A steady clock that moves only when told.
final class ManualClock: Sendable {
    private let instant = Mutex(ContinuousClock.now)

    var now: ContinuousClock.Instant { instant.withLock { $0 } }

    func advance(hours: Int) { instant.withLock { $0 += .seconds(hours * 3600) } }
}

func makeServer(
    _ identities: [TLSIdentity], applicationProtocols: [String] = ["xmpp-client"],
    prefersChaCha: Bool = false, now: Int64 = testTime, clock: ManualClock = ManualClock()
) throws(TLSError) -> TLSServerContext {
    try TLSServerContext(
        identities, ticketLifetime: 43_200, applicationProtocols: applicationProtocols,
        prefersChaCha: prefersChaCha, wallClock: { now }, steadyClock: { clock.now })
}

/// What came out of the handler towards the application.
final class Application: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    var reads: [ByteBuffer] = []
    var events: [TLSEvent] = []
    var errors: [TLSError] = []
    var isInactive = false
    /// Runs inside `channelRead`, as a session that answers or closes does.
    var onRead: ((ChannelHandlerContext, ByteBuffer) -> Void)?
    var onEvent: ((ChannelHandlerContext, TLSEvent) -> Void)?

    var text: String { reads.map { String(buffer: $0) }.joined() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        reads.append(bytes)
        onRead?(context, bytes)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? TLSEvent else { return }
        events.append(event)
        onEvent?(context, event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? TLSError { errors.append(error) }
    }

    func channelInactive(context: ChannelHandlerContext) { isInactive = true }
}

/// A server's channel and a client, joined by hand.
final class Link {
    let channel = EmbeddedChannel()
    let handler: TLSHandler
    let application = Application()
    let client: TLSClientEngine
    /// How many bytes travel at once, in both directions.
    let cut: Int

    init(
        _ server: TLSServerContext, _ settings: TLSClientSettings = TLSClientSettings(),
        cut: Int = .max
    ) throws {
        handler = server.makeHandler()
        client = try TLSClientEngine(settings)
        self.cut = cut
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5222)).wait()
        try channel.pipeline.syncOperations.addHandlers([handler, application])
    }

    /// An embedded channel that is not closed keeps itself and its handlers alive.
    deinit { _ = try? channel.finish(acceptAlreadyClosed: true) }

    // Asked of the link, not of its handler, so that a temporary link lives until the answer.

    var handshakeIsComplete: Bool { handler.handshakeIsComplete }
    var isResumed: Bool { handler.isResumed }
    var cipher: String? { handler.cipher }

    /// A link whose handshake is done and whose tickets have been read.
    static func open(
        _ server: TLSServerContext, _ settings: TLSClientSettings = TLSClientSettings(),
        cut: Int = .max
    ) throws -> Link {
        let link = try Link(server, settings, cut: cut)
        try link.handshake()
        return link
    }

    func handshake() throws {
        var toServer = try client.receive()
        while toServer.readableBytes > 0 {
            try deliver(toServer)
            toServer = try pumpToClient()
        }
    }

    /// Gives bytes of the client's to the server's channel.
    func deliver(_ bytes: ByteBuffer) throws {
        var rest = bytes
        while let part = rest.readSlice(length: min(cut, rest.readableBytes)),
            part.readableBytes > 0
        {
            // A channel that has closed drops what comes, as a socket does.
            guard channel.isActive else { return }
            try channel.writeInbound(part)
        }
    }

    /// Everything the server has written to the network since the last call.
    func takeFromServer() throws -> [ByteBuffer] {
        var writes: [ByteBuffer] = []
        while let write = try channel.readOutbound(as: ByteBuffer.self) { writes.append(write) }
        return writes
    }

    /// Gives the server's bytes to the client; its answer is to be delivered.
    func pumpToClient() throws -> ByteBuffer {
        var answer = ByteBuffer()
        for write in try takeFromServer() {
            var rest = write
            while let part = rest.readSlice(length: min(cut, rest.readableBytes)),
                part.readableBytes > 0
            {
                var output = try client.receive(part)
                answer.writeBuffer(&output)
            }
        }
        return answer
    }

    /// Sends from the client and gives what the application has read since.
    func send(_ text: String) throws -> String {
        application.reads = []
        try deliver(client.send(ByteBuffer(string: text)))
        return application.text
    }

    /// Sends from the server and gives what the client has read since.
    func answer(_ text: String) throws -> String {
        channel.writeAndFlush(ByteBuffer(string: text), promise: nil)
        try deliver(pumpToClient())
        return String(buffer: client.takeReceived())
    }
}

/// The content types of the records in `bytes`, such as 23 for application data.
func recordTypes(in bytes: [ByteBuffer]) -> [UInt8] {
    var all = ByteBuffer()
    for var part in bytes { all.writeBuffer(&part) }
    var types: [UInt8] = []
    while let type = all.readInteger(as: UInt8.self), let _ = all.readInteger(as: UInt16.self),
        let length = all.readInteger(as: UInt16.self), all.readSlice(length: Int(length)) != nil
    {
        types.append(type)
    }
    return types
}
