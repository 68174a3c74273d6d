// What ties an authentication to the TLS connection below it.

/// The channel bindings that this connection can check, by their registered type.
///
/// `tls-exporter` (RFC 9266) and `tls-server-end-point` (RFC 5929 section 4) are the types in use;
/// `tls-unique` is not defined for TLS 1.3 and is not offered. Without TLS there are none.
public struct ChannelBindings: Sendable {
    /// Keying material exported from this very connection (RFC 9266).
    public static let tlsExporter = "tls-exporter"
    /// The hash of the server's certificate (RFC 5929 section 4.1).
    public static let tlsServerEndPoint = "tls-server-end-point"

    private let offered: [String: [[UInt8]]]

    /// The binding data by type; a type without data counts as not offered.
    public init(offered: [String: [UInt8]]) {
        self.init(accepted: offered.mapValues { [$0] })
    }

    /// The same, where peers compute a type's data in more than one way.
    public init(accepted: [String: [[UInt8]]]) {
        offered = accepted.mapValues { $0.filter { !$0.isEmpty } }.filter { !$0.value.isEmpty }
    }

    /// The types to announce in `<sasl-channel-binding/>` (XEP-0440), the strongest first.
    public var types: [String] {
        offered.keys.sorted { a, b in
            (a != Self.tlsExporter ? 1 : 0, a) < (b != Self.tlsExporter ? 1 : 0, b)
        }
    }

    /// Whether nothing can be bound, so that no -PLUS mechanism may be offered.
    public var isEmpty: Bool { offered.isEmpty }

    /// The forms of the data of `type`, nil when this connection has none.
    func data(of type: String) -> [[UInt8]]? { offered[type] }
}
