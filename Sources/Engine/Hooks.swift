// The questions that the engine and the features ask each other, one typed function each. A
// feature that is not there leaves its hook empty, and the caller does without.

public import Addresses
public import Storage
public import XML
public import XMPP

/// What a stream offers to one client at one moment.
public struct StreamFeatureContext: Sendable {
    /// The domain that the client asked for.
    public let domain: String
    /// The account, once authenticated.
    public let account: BareJID?
    /// Whether TLS is in force.
    public let isSecure: Bool
}

/// An account that wants to exist.
public struct RegistrationRequest: Sendable {
    /// The request on a stream that has not authenticated.
    public let request: IQRequest
    /// The domain of that stream.
    public let domain: String
    /// Where it comes from.
    public let address: String
}

/// Has something ready before an account's session exists, and calls back, on any thread: false
/// if it could not, and then keeps nothing.
public typealias SessionPreparation =
    @Sendable (
        BareJID, Host, @escaping @Sendable (Bool) -> Void
    ) -> Void

/// Between whom a message goes.
public struct MessageParties: Sendable {
    /// The sender.
    public let from: JID
    /// The number of its account in the database; nil if nothing is stored for it.
    public let sender: Int64?
    /// The receiver.
    public let to: JID
    /// The same of its account.
    public let receiver: Int64?
}

/// How much is kept for an account.
public struct AccountSize: Sendable, Equatable {
    /// What is counted, such as `roster_items`; ends in `_bytes` if it is bytes.
    public let name: String
    /// How many there are.
    public let value: Int

    /// Creates an entry.
    public init(_ name: String, _ value: Int) {
        self.name = name
        self.value = value
    }
}

/// All hooks. Filled by the features, unchanged afterwards.
public struct Hooks: Sendable {
    /// The database is open, nothing listens yet. An error keeps the server from starting.
    public var started: [@Sendable (Host) throws -> Void] = []
    /// A child of `<stream:features/>`, or nil.
    public var streamFeatures: [@Sendable (StreamFeatureContext, Host) -> Element?] = []
    /// A request before authentication; false when the hook has no use for it.
    public var requestBeforeLogin:
        [@Sendable (
            RegistrationRequest, Host, @escaping @Sendable (Result<Element?, StanzaError>) -> Void
        ) -> Bool] = []
    /// The error that an IQ to a full JID is answered with, whether its client is online or not;
    /// nil to let it pass.
    public var requestToClient: [@Sendable (Stanza, JID, Host) -> StanzaError?] = []
    /// What the server says of a node of its own (XEP-0030 section 3.2); nil for no such node.
    public var serverNodes: [@Sendable (String, Host) -> DiscoveryInfo?] = []
    /// Answers service discovery of a node (XEP-0030 sections 3.2 and 4.2), the server's or, for its
    /// owner, an account's; nil for no such node.
    public var discoveryNodes: [@Sendable (IQRequest, Host) -> OpenIQAnswer?] = []
    /// Something to have ready before an account's session exists.
    public var prepareSession: [SessionPreparation] = []
    /// What `prepareSession` made ready may go: the session ended, or never began. Called in the
    /// reverse order, so that what was made ready first is there for all others.
    public var sessionEnded: [@Sendable (BareJID, Session?, Host) -> Void] = []
    /// A session that its client may resume has lost its connection, and its client has not
    /// acknowledged these messages, oldest first. What it gets from now on is not told. On its loop.
    public var sessionHibernated: [@Sendable (Session, [OutboundStanza], Host) -> Void] = []
    /// Somebody may look at a client again: it has announced itself or resumed its session, or says
    /// that it is active and was not (XEP-0352). On its loop.
    public var sessionActive: [@Sendable (Session, Host) -> Void] = []
    /// A session leaves this process to go on in the next one, and nobody is told. On its loop.
    public var sessionSuspended: [@Sendable (Session, Host) -> Void] = []
    /// A session goes on that was being given what waits for its account when the server stopped,
    /// and these messages are in its queue; gives what to call with each that its client has. Nil
    /// if another session is being given them. On its loop.
    public var restoreReceiver:
        (@Sendable (_ messages: [Int64], Session, Host) -> (@Sendable (Int64) -> Void)?)?
    /// Whom a session has sent directed presence (RFC 6121 section 4.6).
    public var directedPresence: (@Sendable (Session) -> [JID])?
    /// A session goes on that sent these directed presence.
    public var restoreDirectedPresence: (@Sendable ([JID], Session) -> Void)?
    /// Presence from a client: broadcast, subscription or directed. On the client's loop.
    public var presence: (@Sendable (Stanza, Session, Host) -> Void)?
    /// Presence from another domain to a local account: available, unavailable, a subscription, a
    /// probe or an error. On its origin's loop.
    public var presenceFromAway: (@Sendable (Stanza, JID, any StanzaOrigin, Host) -> Void)?
    /// A session is announcing itself with a priority of 0 or more and was not available so
    /// before. On its loop, before the router can see it.
    public var willTakeMessages: [@Sendable (Session, Host) -> Void] = []
    /// The same, once the router sees it.
    public var takesMessages: [@Sendable (Session, Host) -> Void] = []
    /// Whether a message to this address may be one that archives keep. Asked for every message.
    public var isKept: (@Sendable (Stanza, JID) -> Bool)?
    /// Whose archives keep a message of this kind, in the transaction that stores it.
    public var keepers: (@Sendable (MessageParties, Host, Connection) throws -> Keepers)?
    /// The `<stanza-id/>` (XEP-0359) of a stored message for the owner of an archive.
    public var stanzaID: (@Sendable (_ message: Int64, BareJID) -> [UInt8])?
    /// Stored messages are to be listed where they are looked for, in the transaction given. Each
    /// message comes once.
    public var settleMessages: [@Sendable (ClosedRange<Int64>, Connection) throws -> Void] = []
    /// Messages have settled, and that is committed.
    public var messagesSettled: [@Sendable (Host) -> Void] = []
    /// Whether an account has a contact in its roster, in a transaction.
    public var hasContact: (@Sendable (BareJID, BareJID, Connection) throws -> Bool)?
    /// A client that has not announced itself fetched these messages from its account's archive.
    public var fetched: (@Sendable (BareJID, [Int64], Host) -> Void)?
    /// A local client sends a message. On its loop.
    public var messageSent: (@Sendable (Stanza, Host) -> Void)?
    /// Whether somebody may have to be woken for a message to a local account. Asked for every
    /// message that is not stored.
    public var mayWake: (@Sendable (Stanza, JID) -> Bool)?
    /// A message for a local account is being stored under a number, or delivered without that:
    /// notes who is to be woken, in that transaction, and gives what is to be done once it is
    /// committed.
    public var noteWake:
        (
            @Sendable (Stanza, JID, _ message: Int64?, Host, Connection) throws -> (
                @Sendable () -> Void
            )?
        )?
    /// Whether a message waits for a receiver who is not there.
    public var waitsForReceiver: (@Sendable (Stanza) -> Bool)?
    /// Whether a message, of whatever type, says something that is worth keeping until it gets
    /// there.
    public var isWorthWaiting: (@Sendable (Stanza) -> Bool)?
    /// Has a message wait for its receiver, in the transaction that stores it; false when too
    /// many wait.
    public var queue: (@Sendable (_ message: Int64, _ receiver: Int64, Connection) throws -> Bool)?
    /// Whether a message waits for its receiver.
    public var isWaiting:
        (@Sendable (_ message: Int64, _ receiver: Int64, Connection) throws -> Bool)?
    /// A message waits now for an account, and that is committed.
    public var queued: (@Sendable (BareJID, Host) -> Void)?
    /// Copies of a message for further sessions of its receiver and its sender (XEP-0280). Called
    /// when the message is delivered, or else when it waits. Any thread.
    public var copies: (@Sendable (CopiedMessage, Host) -> [MessageCopy])?
    /// Presence of type subscribe, subscribed, unsubscribe or unsubscribed from a client.
    public var subscription: (@Sendable (Stanza, Session, Host) -> Void)?
    /// The same from another domain, to a local account. On its origin's loop.
    public var subscriptionFromAway: (@Sendable (Stanza, JID, any StanzaOrigin, Host) -> Void)?
    /// Whom an account asked for their presence and who have not answered. The account has a
    /// session.
    public var openRequests: (@Sendable (BareJID) -> [BareJID])?
    /// Who gets an account's presence (RFC 6121 section 4.2.2). The account has a session.
    public var subscribers: (@Sendable (BareJID) -> [BareJID])?
    /// Whose presence an account gets (RFC 6121 section 4.3). The account has a session.
    public var subscriptions: (@Sendable (BareJID) -> [BareJID])?
    /// Whether `contact` gets the presence of `account`; one of the two has a session.
    public var maySeePresence: (@Sendable (_ contact: BareJID, _ account: BareJID) -> Bool)?
    /// The same of an account that need not have a session, in a transaction.
    public var isSubscriber:
        (@Sendable (_ contact: BareJID, _ account: BareJID, Connection) throws -> Bool)?
    /// Whether `contact` has asked for the presence of `account`, which has not answered, in a
    /// transaction.
    public var hasAsked:
        (@Sendable (_ contact: BareJID, _ account: BareJID, Connection) throws -> Bool)?
    /// Requests for an account's presence that nobody has answered, ready to deliver.
    public var subscriptionRequests: (@Sendable (BareJID, Host) -> [OutboundStanza])?
    /// `contact` may see `account` from now on: send what there is.
    public var presenceGranted: (@Sendable (_ account: BareJID, _ to: BareJID, Host) -> Void)?
    /// `contact` may no longer see `account`: say that it is gone.
    public var presenceRevoked: (@Sendable (_ account: BareJID, _ to: BareJID, Host) -> Void)?
    /// Whether an account has blocked an address (XEP-0191). The account need not be online, nor
    /// exist. Any thread.
    public var isBlocked: (@Sendable (_ owner: BareJID, _ other: JID) -> Bool)?
    /// An account has blocked those whom the function names: say to them that it is gone.
    public var presenceHidden:
        (@Sendable (_ account: BareJID, _ from: (JID) -> Bool, Host) -> Void)?
    /// An account has unblocked those whom the function names: send what there is, to both sides.
    public var presenceShown: (@Sendable (_ account: BareJID, _ to: (JID) -> Bool, Host) -> Void)?
    /// How much is kept for an account, for its administrator, in a transaction that reads.
    public var accountSizes: [@Sendable (BareJID, Connection) throws -> [AccountSize]] = []
    /// An account goes: keeps what its contacts on other domains are told, in the same transaction
    /// and before `removeAccount`.
    public var farewells: (@Sendable (BareJID, Host, Connection) throws -> [AwayStanza])?
    /// An account goes: delete what is its own, in the same transaction.
    public var removeAccount: [@Sendable (BareJID, Connection) throws -> Void] = []
    /// An account has gone, and so have its sessions.
    public var accountRemoved: [@Sendable (BareJID, Host) -> Void] = []
    /// The data comes from a backup: give up what clients could take for something that came after
    /// it. In the transaction that notes it, before `started`.
    public var restored: [@Sendable (Connection) throws -> Void] = []
    /// Which account, by its number, has the longest history, and how many messages it has; nil
    /// when nobody has any.
    public var longestHistory: (@Sendable (Connection) throws -> (owner: Int64, messages: Int)?)?
    /// Gives an account what it has lost and a backup has; what is there, or newer, stays. In a
    /// transaction on data that nobody else has open, in which all messages have settled. Gives
    /// what came back.
    public var mergeAccount: [@Sendable (AccountMerge, Host, Connection) throws -> [AccountSize]] =
        []
    /// Tells of a message's number whether it is the same message's in a backup of this data.
    public var past:
        (@Sendable (_ backup: Database, Connection) throws -> @Sendable (Int64) -> Bool)?
    /// An account has a new password.
    public var passwordChanged: [@Sendable (BareJID) -> Void] = []
}
