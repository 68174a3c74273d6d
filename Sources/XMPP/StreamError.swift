// Stream errors (RFC 6120 section 4.9). All of them end the stream.

public import XML

/// The error that a stream ends with.
public struct StreamError: Error, Sendable, Equatable {
    /// The defined conditions (RFC 6120 section 4.9.3).
    public enum Condition: String, Sendable, CaseIterable {
        case badFormat = "bad-format"
        case badNamespacePrefix = "bad-namespace-prefix"
        case conflict
        case connectionTimeout = "connection-timeout"
        case hostGone = "host-gone"
        case hostUnknown = "host-unknown"
        case improperAddressing = "improper-addressing"
        case internalServerError = "internal-server-error"
        case invalidFrom = "invalid-from"
        case invalidNamespace = "invalid-namespace"
        case invalidXML = "invalid-xml"
        case notAuthorized = "not-authorized"
        case notWellFormed = "not-well-formed"
        case policyViolation = "policy-violation"
        case remoteConnectionFailed = "remote-connection-failed"
        case reset
        case resourceConstraint = "resource-constraint"
        case restrictedXML = "restricted-xml"
        case seeOtherHost = "see-other-host"
        case systemShutdown = "system-shutdown"
        case undefinedCondition = "undefined-condition"
        case unsupportedEncoding = "unsupported-encoding"
        case unsupportedFeature = "unsupported-feature"
        case unsupportedStanzaType = "unsupported-stanza-type"
        case unsupportedVersion = "unsupported-version"
    }

    /// The defined condition.
    public var condition: Condition
    /// A sentence for a person, or nil.
    public var text: String?
    /// What stands inside the condition: where to go instead, for `see-other-host` (section
    /// 4.9.3.19).
    public var value: String?
    /// An application-specific condition (section 4.9.4), or nil.
    public var application: Element?

    /// Creates an error.
    public init(
        _ condition: Condition, _ text: String? = nil, value: String? = nil,
        application: Element? = nil
    ) {
        self.condition = condition
        self.text = text
        self.value = value
        self.application = application
    }

    /// What the peer gets for what the reader refused.
    public init(_ error: XMLError) {
        condition =
            switch error.condition {
            case .notWellFormed: .notWellFormed
            case .restricted: .restrictedXML
            case .unsupportedEncoding: .unsupportedEncoding
            case .badFormat: .badFormat
            case .limit: .policyViolation
            }
        text = error.detail
    }

    /// `<stream:error/>` as it stands in our streams, which bind the prefix in their header.
    public var bytes: [UInt8] {
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.raw("<stream:error>")
        writer.write(Element(condition.rawValue, Namespaces.streamErrors, text: value))
        if let text {
            var element = Element("text", Namespaces.streamErrors, text: text)
            element.attributes.append(Attribute("lang", "en", namespace: Namespaces.xml))
            writer.write(element)
        }
        if let application { writer.write(application) }
        writer.raw("</stream:error>")
        return writer.bytes
    }
}
