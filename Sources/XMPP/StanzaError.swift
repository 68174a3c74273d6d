// Stanza errors (RFC 6120 section 8.3).

public import XML

/// The error that a stanza is answered with.
public struct StanzaError: Error, Sendable, Equatable {
    /// What the sender may do about it (RFC 6120 section 8.3.2).
    public enum Kind: String, Sendable, CaseIterable {
        /// Retry after giving credentials.
        case auth
        /// Do not retry.
        case cancel
        /// Only a warning.
        case `continue`
        /// Retry after changing what was sent.
        case modify
        /// Retry later.
        case wait
    }

    /// The defined conditions (RFC 6120 section 8.3.3).
    public enum Condition: String, Sendable, CaseIterable {
        case badRequest = "bad-request"
        case conflict
        case featureNotImplemented = "feature-not-implemented"
        case forbidden
        case gone
        case internalServerError = "internal-server-error"
        case itemNotFound = "item-not-found"
        case jidMalformed = "jid-malformed"
        case notAcceptable = "not-acceptable"
        case notAllowed = "not-allowed"
        case notAuthorized = "not-authorized"
        case policyViolation = "policy-violation"
        case recipientUnavailable = "recipient-unavailable"
        case redirect
        case registrationRequired = "registration-required"
        case remoteServerNotFound = "remote-server-not-found"
        case remoteServerTimeout = "remote-server-timeout"
        case resourceConstraint = "resource-constraint"
        case serviceUnavailable = "service-unavailable"
        case subscriptionRequired = "subscription-required"
        case undefinedCondition = "undefined-condition"
        case unexpectedRequest = "unexpected-request"

        /// The type that the RFC associates with the condition.
        public var kind: Kind {
            switch self {
            case .badRequest, .jidMalformed, .notAcceptable, .policyViolation, .redirect: .modify
            case .forbidden, .notAuthorized, .registrationRequired, .subscriptionRequired: .auth
            case .recipientUnavailable, .remoteServerTimeout, .resourceConstraint,
                .unexpectedRequest:
                .wait
            case .conflict, .featureNotImplemented, .gone, .internalServerError, .itemNotFound,
                .notAllowed, .remoteServerNotFound, .serviceUnavailable, .undefinedCondition:
                .cancel
            }
        }
    }

    /// The defined condition.
    public var condition: Condition
    /// What the sender may do.
    public var kind: Kind
    /// A sentence for a person, or nil.
    public var text: String?
    /// What an extension says more exactly (RFC 6120 section 8.3.4), or nil.
    public var application: Element?

    /// Creates an error of the condition's usual type.
    public init(
        _ condition: Condition, _ text: String? = nil, kind: Kind? = nil,
        application: Element? = nil
    ) {
        self.condition = condition
        self.kind = kind ?? condition.kind
        self.text = text
        self.application = application
    }

    /// `<error/>` as it stands in a stanza.
    public var element: Element {
        var element = Element(
            "error", Namespaces.client, [("type", kind.rawValue)],
            [Element(condition.rawValue, Namespaces.stanzaErrors)])
        if let text {
            var child = Element("text", Namespaces.stanzaErrors, text: text)
            child.attributes.append(Attribute("lang", "en", namespace: Namespaces.xml))
            element.children.append(.element(child))
        }
        if let application { element.children.append(.element(application)) }
        return element
    }
}
