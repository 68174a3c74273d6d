// Namespaces of the core protocols. Those of a feature stand in the feature.

/// Namespace names of RFC 6120 and RFC 6121.
public enum Namespaces {
    /// Stanzas between a client and its server.
    public static let client = "jabber:client"
    /// The stream element, its features and errors.
    public static let streams = "http://etherx.jabber.org/streams"
    /// Conditions of stream errors.
    public static let streamErrors = "urn:ietf:params:xml:ns:xmpp-streams"
    /// Conditions of stanza errors.
    public static let stanzaErrors = "urn:ietf:params:xml:ns:xmpp-stanzas"
    /// STARTTLS negotiation.
    public static let tls = "urn:ietf:params:xml:ns:xmpp-tls"
    /// SASL negotiation.
    public static let sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
    /// Advertised channel-binding types (XEP-0440).
    public static let channelBinding = "urn:xmpp:sasl-cb:0"
    /// Resource binding.
    public static let bind = "urn:ietf:params:xml:ns:xmpp-bind"
    /// Session establishment of RFC 3921, a no-op today.
    public static let session = "urn:ietf:params:xml:ns:xmpp-session"
    /// `xml:lang` and its kin.
    public static let xml = "http://www.w3.org/XML/1998/namespace"
}
