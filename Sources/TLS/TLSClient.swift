// The client's half of a connection for other targets, as bytes. It trusts nobody by itself: whoever
// uses it compares the fingerprint of what the server has shown, before anything is sent.

internal import NIOCore

/// One connection of a client: bytes of the network in, bytes for the network out. Used by one
/// thread at a time.
public final class TLSClient {
    private let engine: TLSClientEngine

    /// - Parameters:
    ///   - serverName: sent to the server (RFC 6066); nil for its default certificate.
    ///   - applicationProtocols: such as `xmpp-client`.
    public init(serverName: String?, applicationProtocols: [String]) throws(TLSError) {
        engine = try TLSClientEngine(
            TLSClientSettings(
                serverName: serverName, applicationProtocols: applicationProtocols))
    }

    /// Takes what the server has sent (nothing, to begin) and gives what must go to it.
    public func receive(_ bytes: [UInt8] = []) throws(TLSError) -> [UInt8] {
        Array(buffer: try engine.receive(ByteBuffer(bytes: bytes)))
    }

    /// Whether the handshake is done, so that something can be sent.
    public var isReady: Bool { engine.connection.handshakeIsComplete }

    /// Whether the server has said that nothing more comes.
    public var isClosedByPeer: Bool { engine.isClosedByPeer }

    /// The SHA-256 of the server's certificate, in hexadecimal with colons; nil before it has shown
    /// one. It has proved to have the key once `isReady`.
    public var fingerprint: String? { engine.serverCertificate?.fingerprint }

    /// All that has been decrypted and not taken yet.
    public func takeReceived() -> [UInt8] { Array(buffer: engine.takeReceived()) }

    /// The records of `bytes`, for the network.
    public func send(_ bytes: [UInt8]) throws(TLSError) -> [UInt8] {
        Array(buffer: try engine.send(ByteBuffer(bytes: bytes)))
    }

    /// What says to the server that nothing more comes.
    public func close() -> [UInt8] { Array(buffer: engine.close()) }
}
