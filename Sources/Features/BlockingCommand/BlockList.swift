// Block lists in memory: which addresses an account has blocked, and whether that concerns another
// address (XEP-0191 section 6).

internal import Addresses
internal import Storage
internal import Synchronization

/// The addresses that one account has blocked.
struct BlockList: Equatable, Sendable {
    let owner: BareJID
    private(set) var items: Set<JID> = []

    init(of owner: BareJID, _ items: Set<JID> = []) {
        self.owner = owner
        self.items = items
    }

    /// Whether an item fits the address: the same one, its bare address, or its domain. Never
    /// the owner's own clients (section 5), nor the server that the owner is on.
    func blocks(_ jid: JID) -> Bool {
        guard jid.bare != owner, !jid.bare.isDomain || jid.domain != owner.domain else {
            return false
        }
        if items.contains(jid) { return true }
        if !jid.isBare, items.contains(JID(bare: jid.bare)) { return true }
        return !jid.bare.isDomain
            && items.contains(JID(bare: BareJID(preparedDomain: jid.domain)))
    }

    mutating func insert(_ item: JID) { items.insert(item) }

    mutating func apply(_ change: BlockListChange) {
        switch change {
        case .block(let jids): items.formUnion(jids)
        case .unblock(let jids): items.subtract(jids)
        case .unblockAll: items = []
        }
    }
}

/// The block lists of all accounts. What the database commits is applied here in the order of the
/// commits, by the writer's thread. Safe on any thread.
final class BlockLists: Sendable {
    private let lists = Mutex<[BareJID: BlockList]>([:])
    /// Most servers have no block list, and this is asked for every stanza.
    private let isEmpty = Atomic<Bool>(true)

    /// Reads all lists; waits, so only before anybody is there.
    func load(_ database: Database) throws(StorageError) {
        let loaded = try database.readNow(BlockingCommandStore.lists)
        update { $0 = loaded }
    }

    /// Whether an account has blocked an address.
    func isBlocked(_ owner: BareJID, _ other: JID) -> Bool {
        guard !isEmpty.load(ordering: .acquiring) else { return false }
        return lists.withLock { $0[owner]?.blocks(other) } ?? false
    }

    func list(of account: BareJID) -> BlockList {
        lists.withLock { $0[account] } ?? BlockList(of: account)
    }

    /// Applies what was committed and gives the list before and after it.
    func apply(
        _ change: BlockListChange, to account: BareJID
    ) -> (before: BlockList, after: BlockList) {
        let before = list(of: account)
        var after = before
        after.apply(change)
        update { $0[account] = after.items.isEmpty ? nil : after }
        return (before, after)
    }

    /// The account is gone.
    func clear(_ account: BareJID) {
        update { $0[account] = nil }
    }

    private func update(_ change: (inout [BareJID: BlockList]) -> Void) {
        lists.withLock { lists in
            change(&lists)
            isEmpty.store(lists.isEmpty, ordering: .releasing)
        }
    }
}
