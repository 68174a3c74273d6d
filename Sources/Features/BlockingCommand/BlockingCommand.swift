// XEP-0191: Blocking Command. An account's block list stops every stanza between it and who is on
// the list, in both directions; the router (`Host.stops`) and the presence and roster features
// ask for that through `Hooks.isBlocked`. The lists of all accounts are kept in memory, because
// the question comes with every stanza, on any thread, and of accounts that are offline.
//
// Blocking is polite (section 4): subscriptions stay. A blocked contact's request for one is not
// seen; what it answers or ends changes the rosters of both, so that a right that was taken back
// stays taken back, but is not delivered. Removing a blocked contact from the roster ends the
// subscriptions as ever. Messages that a blocked sender had left in the offline store are dropped
// when their turn comes.
//
// An item that fits the owner's own account or its server is kept and has no effect on these
// (section 5), so that nobody locks themselves out.

internal import Addresses
internal import Engine
internal import Logging
internal import Options
internal import Prometheus
internal import Storage
internal import XML
internal import XMPP

struct BlockingCommand: Feature {
    static let specifications = [Specification("XEP-0191", version: "1.3", "Blocking Command")]

    private let lists = BlockLists()
    private let limit: Setting<Int>

    init(in host: HostBuilder) {
        limit = host.options.integer(
            "limits.blocked", default: 1000, in: 0...100_000, reloadable: true,
            help: "Addresses that one account may block.")
        for step in BlockingCommandStore.schema { host.schema(step) }
        host.hooks.mergeAccount.append { merge, _, connection in
            [
                AccountSize(
                    "blocked_addresses",
                    try BlockingCommandStore.merge(
                        merge.account, from: merge.backup, connection))
            ]
        }
        host.advertise(BlockListChange.namespace)
        let lists = lists
        let limit = limit
        host.hooks.started.append { try lists.load($0.database) }
        host.hooks.isBlocked = { lists.isBlocked($0, $1) }
        host.hooks.accountSizes.append { account, connection in
            [
                AccountSize(
                    "blocked_addresses",
                    try BlockingCommandStore.count(connection, of: account))
            ]
        }
        host.hooks.removeAccount.append { try BlockingCommandStore.deleteAll($1, of: $0) }
        host.hooks.accountRemoved.append { account, _ in lists.clear(account) }
        host.answer("blocklist", BlockListChange.namespace, for: [.ownAccount]) {
            request, _, session, _ throws(StanzaError) in
            guard !request.isSet else { throw notChangeable }
            // First, so that a change in between comes as a push.
            session.flags.set(.interestedInBlockList)
            return .result(lists.list(of: session.jid.bare).element)
        }
        for name in ["block", "unblock"] {
            host.answer(name, BlockListChange.namespace, for: [.ownAccount]) {
                request, _, session, host throws(StanzaError) in
                guard request.isSet else {
                    throw StanzaError(.badRequest, "blocking and unblocking are sets")
                }
                let change = try BlockListChange(request.payload)
                Self.change(change, request, session, host, lists, limit: limit.value)
                return .later
            }
        }
    }

    private static func change(
        _ change: BlockListChange, _ request: IQRequest, _ session: Session, _ host: Host,
        _ lists: BlockLists, limit: Int
    ) {
        let account = session.jid.bare
        host.database.writer.submit(
            size: 1024 + change.jids.count * 256,
            { try BlockingCommandStore.apply(change, $0, of: account, limit: limit) },
            then: { result in
                switch result {
                case .success(.applied):
                    // First, so that it is in force when the client hears so.
                    let (before, after) = lists.apply(change, to: account)
                    session.answer(request, .success(nil))
                    push(change, to: account, host)
                    host.hooks.presenceHidden?(
                        account, { after.blocks($0) && !before.blocks($0) }, host)
                    host.hooks.presenceShown?(
                        account, { before.blocks($0) && !after.blocks($0) }, host)
                case .success(.full):
                    host.metrics.refusals[.blockedAddresses].add()
                    session.answer(
                        request,
                        .failure(StanzaError(.resourceConstraint, "the block list is full")))
                case .success(.noAccount):
                    session.answer(
                        request, .failure(StanzaError(.itemNotFound, "the account is gone")))
                case .failure(let error):
                    host.log.error("block list: \(error)")
                    host.metrics.refusals[.storage].add()
                    session.answer(request, .failure(.notStored(error)))
                }
            })
    }

    /// Tells every interested client of a change (sections 3.3 to 3.5).
    private static func push(_ change: BlockListChange, to account: BareJID, _ host: Host) {
        let payload = change.element
        for session in host.sessions.sessions(of: account)
        where session.flags.contains(.interestedInBlockList) {
            let push = Element(
                "iq", Namespaces.client,
                [
                    ("to", session.jid.description), ("type", "set"),
                    ("id", host.nextIdentifier()),
                ], [payload])
            session.deliver(
                OutboundStanza(.iq, XMLWriter.bytes(push, contentNamespace: Namespaces.client)))
        }
    }
}
