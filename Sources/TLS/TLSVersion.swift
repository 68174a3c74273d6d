// What a finished handshake agreed on, and what the handler tells its pipeline.

import COpenSSL

/// The protocol versions that are spoken; older ones are refused (RFC 8996).
public enum TLSVersion: String, CaseIterable, Sendable {
    /// RFC 5246.
    case tls12 = "TLSv1.2"
    /// RFC 8446.
    case tls13 = "TLSv1.3"

    /// The number on the wire.
    var protocolNumber: Int32 {
        switch self {
        case .tls12: TLS1_2_VERSION
        case .tls13: TLS1_3_VERSION
        }
    }
}

/// The user inbound events of `TLSHandler`.
public enum TLSEvent: Sendable, Equatable {
    /// The handshake is done; what is read and written from here on is protected.
    ///
    /// `serverName` is the name the client asked for (RFC 6066 section 3), in lower case: a claim
    /// of the client, which need not be a domain of this server.
    case handshakeCompleted(
        version: TLSVersion, applicationProtocol: String?, serverName: String?)
    /// The peer said that it will send nothing more (close_notify, RFC 8446 section 6.1).
    /// The owner of the pipeline answers by closing.
    case closedByPeer
    /// The peer's bytes ended without close_notify: somebody may have cut the connection.
    /// Many clients do this; what was read so far is authentic.
    case truncated
}

/// How authentication is tied to the TLS connection under it (SCRAM's `-PLUS` mechanisms).
public enum ChannelBindingType: String, CaseIterable, Sendable {
    /// RFC 9266.
    case tlsExporter = "tls-exporter"
    /// RFC 5929 section 4.
    case tlsServerEndPoint = "tls-server-end-point"
}
