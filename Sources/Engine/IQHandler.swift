// Who answers a request that the server answers itself.

public import XML
public import XMPP

/// To whom a request was addressed (RFC 6120 section 10.3 and 10.5).
public enum IQTarget: Sendable, Hashable {
    /// The domain.
    case server
    /// The sender's own account: its bare JID, or no `to` at all.
    case ownAccount
    /// Another local account's bare JID, for which the server answers.
    case account
}

/// What a handler does with a request.
public enum IQAnswer: Sendable {
    /// The result's payload.
    case result(Element?)
    /// The handler calls `Session.answer` itself, later.
    case later
}

/// Answers requests of one namespace.
public struct IQHandler: Sendable {
    /// Whom it answers for.
    public let targets: Set<IQTarget>
    /// Gives the answer or throws the error. On the sender's loop; must not block.
    public let answer:
        @Sendable (IQRequest, IQTarget, Session, Host) throws(StanzaError) -> IQAnswer
}

/// Handles a first-level element that is no stanza, on the client's loop; false if it is none that
/// the feature knows.
public typealias StreamElementHandler = @Sendable (Fragment, Session) -> Bool

/// What a handler does with a request by anybody.
public enum OpenIQAnswer: Sendable {
    /// The result's payload.
    case result(Element?)
    /// The answer has to be looked for. The function is called at once, with what takes the answer,
    /// once and on any thread; until then the request counts as not handled (XEP-0198).
    case later(@Sendable (@escaping @Sendable (Result<Element?, StanzaError>) -> Void) -> Void)
}

/// Answers requests of one namespace by anybody: a local client, another server, a component.
public struct OpenIQHandler: Sendable {
    /// Whom it answers for.
    public let targets: Set<IQTarget>
    /// Gives the answer or throws the error; who asks is `request.stanza.from`. Must not block.
    public let answer: @Sendable (IQRequest, IQTarget, Host) throws(StanzaError) -> OpenIQAnswer
}

extension IQRequest {
    /// The name under which its handler is known.
    var key: String { "\(payload.namespace) \(payload.name)" }
}
