// The archives at work: who keeps what, and the answers to queries.

internal import Addresses
internal import Engine
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization
internal import TLS
internal import XML
internal import XMPP

/// All archives of a server. Safe on any thread.
final class Archive: Sendable {
    /// A page ends when it has so many bytes: it waits in memory until the client has it.
    private static let pageBytes = 524_288

    private struct State {
        var key: ArchiveIDKey?
        var epochs: [(number: UInt32, first: Int64)] = []
        /// Those whose preferences are in the database.
        var chosen: Set<BareJID> = []
    }

    let options: ArchiveOptions
    let metrics: ArchiveMetrics
    let maintenance: ArchiveMaintenance
    private let readers = ArchiveReaders()
    private let state = Mutex(State())

    init(options: ArchiveOptions, metrics: ArchiveMetrics) {
        self.options = options
        self.metrics = metrics
        maintenance = ArchiveMaintenance(options: options, metrics: metrics)
    }

    // MARK: Start

    func start(_ host: Host) {
        let newKey = SecureRandom.bytes(ArchiveIDKey.length)
        do {
            let (key, epochs, chosen) = try host.database.writeNow { connection in
                let identity = try MessageArchiveStore.identity(connection, newKey: newKey)
                return (
                    identity.key, identity.epochs,
                    try MessageArchiveStore.accountsWithPreferences(connection)
                )
            }
            state.withLock { state in
                state.key = ArchiveIDKey(key)
                state.epochs = epochs
                state.chosen = Set(chosen)
            }
        } catch {
            host.log.error("archive: \(error)")
        }
        maintenance.start(host)
    }

    func messagesSettled(_ host: Host) { maintenance.messagesSettled(host) }

    func accountRemoved(_ host: Host) { maintenance.removeSome(host) }

    // MARK: Ids (XEP-0359)

    private func text(_ row: Int64) -> String {
        state.withLock { state in
            let epoch = state.epochs.last { $0.first <= row }?.number ?? 1
            return state.key?.text(ArchiveID(row: row, epoch: epoch)) ?? ""
        }
    }

    /// The row of an id; nil for what is no id of ours.
    private func row(_ text: String) -> Int64? {
        state.withLock { state in
            guard let id = state.key?.id(text),
                state.epochs.last(where: { $0.first <= id.row })?.number == id.epoch
            else { return nil }
            return id.row
        }
    }

    /// `<stanza-id/>` in a message to the owner of an archive.
    func stanzaID(_ row: Int64, _ owner: BareJID) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.raw("<stanza-id xmlns='urn:xmpp:sid:0'")
        writer.attribute("by", owner.description)
        writer.attribute("id", text(row))
        writer.raw("/>")
        return writer.bytes
    }

    // MARK: Who keeps what

    /// Whether an archive may list a message. Where nobody has one, messages need not wait for the
    /// disk.
    func mayKeep(_ stanza: Stanza, _ to: JID) -> Bool {
        guard ArchiveContent.isKept(stanza) else { return false }
        guard options.rule.value == .never else { return true }
        return state.withLock {
            $0.chosen.contains(stanza.from.bare) || $0.chosen.contains(to.bare)
        }
    }

    /// Whose archives list a message. On the writer's thread.
    func keepers(
        _ parties: MessageParties, _ host: Host, _ connection: Connection
    ) throws -> Keepers {
        var keepers: Keepers = []
        if try keeps(parties.sender, parties.from.bare, parties.to, host, connection) {
            keepers.insert(.sender)
        }
        if try keeps(parties.receiver, parties.to.bare, parties.from, host, connection) {
            keepers.insert(.receiver)
        }
        return keepers
    }

    private func keeps(
        _ owner: Int64?, _ account: BareJID, _ contact: JID, _ host: Host,
        _ connection: Connection
    ) throws -> Bool {
        // Those of other domains have archives of their own.
        guard host.isLocal(account.domain) else { return false }
        var rule = options.rule.value
        if let owner, state.withLock({ $0.chosen.contains(account) }),
            let preferences = try MessageArchiveStore.preferences(connection, of: owner)
        {
            rule = preferences.rule(for: contact)
        }
        switch rule {
        case .always: return true
        case .never: return false
        case .roster:
            return try account == contact.bare
                || host.hooks.hasContact?(account, contact.bare, connection) ?? false
        }
    }

    // MARK: Preferences (XEP-0441)

    func preferences(_ request: IQRequest, _ session: Session, _ host: Host) {
        let account = session.jid.bare
        let rule = options.rule.value
        host.database.read({ connection -> ArchivePreferences? in
            guard let owner = try MessageStore.existingNumber(of: account, in: connection) else {
                return nil
            }
            return try MessageArchiveStore.preferences(connection, of: owner)
        }) { result in
            session.answer(
                request,
                result.map { ($0 ?? ArchivePreferences(otherwise: rule)).element }
                    .mapError { self.notRead($0, host) })
        }
    }

    func save(
        _ preferences: ArchivePreferences, _ request: IQRequest, _ session: Session, _ host: Host
    ) {
        let account = session.jid.bare
        host.database.writer.submit(
            size: 4096,
            { connection in
                let owner = try MessageStore.number(of: account, in: connection)
                try MessageArchiveStore.save(connection, preferences, of: owner)
            },
            then: { result in
                if case .success = result {
                    self.state.withLock { _ = $0.chosen.insert(account) }
                }
                session.answer(
                    request,
                    result.map { _ in preferences.element }.mapError { .notStored($0) })
            })
    }

    // MARK: Queries

    func metadata(_ request: IQRequest, _ session: Session, _ host: Host) throws(StanzaError) {
        let account = session.jid.bare
        let work: @Sendable (Connection) throws -> (first: StoredMessage, last: StoredMessage)? = {
            connection in
            guard let owner = try MessageStore.existingNumber(of: account, in: connection) else {
                return nil
            }
            return try ArchiveQueryStore.ends(connection, of: owner)
        }
        try read(.metadata, session, host, work) { result in
            session.answer(
                request,
                result.map { ends in
                    ArchiveMetadata(
                        ends: ends.map { first, last in
                            (
                                .init(id: self.text(first.id), time: first.receivedAt),
                                .init(id: self.text(last.id), time: last.receivedAt)
                            )
                        }
                    ).element
                })
        }
    }

    func query(
        _ query: ArchiveQuery, _ request: IQRequest, _ session: Session, _ host: Host
    ) throws(StanzaError) {
        guard query.page.index == nil else {
            throw StanzaError(.featureNotImplemented, "pages are found by ids, not by numbers")
        }
        let account = session.jid.bare
        var words: String?
        if let text = query.fullText {
            words = SearchText.query(text)
            guard words != nil else {
                return finish(ArchivePage(), query, request, session, host)
            }
        }
        // Who names messages has counted them.
        let limit = min(query.page.max ?? .max, max(options.page.value, query.ids.count))
        let kind: ArchiveQueryKind = words != nil ? .search : limit == 0 ? .count : .page
        let work: @Sendable (Connection) throws -> Answer = { [words] connection in
            guard
                let selection = try self.selection(query, words, of: account, connection)
            else { return limit == 0 ? .count(0) : .page(ArchivePage()) }
            guard limit > 0 else {
                return .count(try ArchiveQueryStore.count(connection, selection))
            }
            return .page(
                try ArchiveQueryStore.page(
                    connection, selection, limit: limit, bytes: Self.pageBytes))
        }
        try read(kind, session, host, work) { result in
            switch result {
            case .success(.page(let page)): self.finish(page, query, request, session, host)
            case .success(.count(let count)):
                let end = ArchiveQueryEnd(
                    isComplete: count == 0, page: ResultSetPage(count: count))
                session.answer(request, .success(end.element))
            case .failure(let error): session.answer(request, .failure(error))
            }
        }
    }

    private enum Answer: Sendable {
        case page(ArchivePage)
        case count(Int)
    }

    /// What the query wants; nil if the archive cannot have it.
    private func selection(
        _ query: ArchiveQuery, _ words: String?, of account: BareJID, _ connection: Connection
    ) throws -> ArchiveSelection? {
        let anchors = [query.afterID, query.beforeID, query.page.after, query.page.before]
            .compactMap { $0 }.filter { !$0.isEmpty }
        guard let owner = try MessageStore.existingNumber(of: account, in: connection) else {
            guard anchors.isEmpty, query.ids.isEmpty else { throw Self.notFound }
            return nil
        }
        _ = try rows(anchors, of: owner, connection)
        var selection = ArchiveSelection(owner: owner)
        if !query.ids.isEmpty {
            selection.ids = Set(try rows(query.ids, of: owner, connection)).sorted()
        }
        func narrow(after: String?, before: String?) {
            if let row = after.flatMap(self.row) { selection.after = max(selection.after, row) }
            if let row = before.flatMap(self.row) { selection.before = min(selection.before, row) }
        }
        narrow(after: query.afterID, before: query.beforeID)
        narrow(after: query.page.after, before: query.page.before)
        selection.fromEnd = query.page.before != nil
        selection.start = query.start
        selection.end = query.end
        selection.words = words
        if let with = query.with {
            guard let contact = try MessageStore.existingNumber(of: with.bare, in: connection)
            else { return nil }
            selection.contact = contact
            if !with.isBare { selection.resource = with }
        }
        return selection
    }

    /// The rows of ids, all of which the archive must list (section 4.1.3).
    private func rows(
        _ ids: [String], of owner: Int64, _ connection: Connection
    ) throws -> [Int64] {
        let rows = ids.compactMap(row)
        guard rows.count == ids.count else { throw Self.notFound }
        let found = try ArchiveQueryStore.messages(connection, of: owner, rows)
        guard Set(found.map(\.id)) == Set(rows) else { throw Self.notFound }
        return rows
    }

    private static let notFound = StanzaError(.itemNotFound, "no such message in this archive")

    /// Sends the page and what ends it.
    private func finish(
        _ page: ArchivePage, _ query: ArchiveQuery, _ request: IQRequest, _ session: Session,
        _ host: Host
    ) {
        let account = session.jid.bare
        let envelope = ArchiveResultEnvelope(
            to: session.jid, from: account, queryID: query.queryID)
        let ids = page.messages.map { text($0.id) }
        if !session.availability.isAvailable, !page.messages.isEmpty {
            // Section 6.1.1: it need not come again as an offline message.
            host.hooks.fetched?(account, page.messages.map(\.id), host)
        }
        var results = zip(page.messages, ids).map { message, id in
            OutboundStanza.reply(
                .message,
                envelope.bytes(id: id, time: message.receivedAt, message: message.stanza))
        }
        if query.isFlipped { results.reverse() }
        for result in results { session.deliver(result) }
        var ends: ResultSetPage.Ends?
        if let first = ids.first, let last = ids.last { ends = .init(first: first, last: last) }
        let end = ArchiveQueryEnd(isComplete: page.isComplete, page: ResultSetPage(ends))
        session.answer(request, .success(end.element))
    }

    // MARK: Reading

    /// Reads in turn and within its time; what the client sent before is seen.
    private func read<Value: Sendable>(
        _ kind: ArchiveQueryKind, _ session: Session, _ host: Host,
        _ work: @escaping @Sendable (Connection) throws -> Value,
        then: @escaping @Sendable (Result<Value, StanzaError>) -> Void
    ) throws(StanzaError) {
        let time = options.queryTime.value
        let hasUnstored = host.hasUnstored(session)
        let isTaken = readers.run(for: session.jid.bare, isSearch: kind == .search) { done in
            let start = ContinuousClock.now
            let read: @Sendable () -> Void = {
                host.database.read({ connection -> Result<Value, StanzaError> in
                    do {
                        return .success(try connection.limited(to: time) { try work(connection) })
                    } catch let error as StanzaError {
                        return .failure(error)
                    }
                }) { result in
                    self.metrics.queryTime[kind].observe((ContinuousClock.now - start).seconds)
                    switch result {
                    case .success(let result): then(result)
                    case .failure(let error): then(.failure(self.notRead(error, host)))
                    }
                    done()
                }
            }
            if kind == .search {
                self.maintenance.indexAllWords(host, then: read)
            } else if hasUnstored {
                host.database.writer.afterQueued(read)
            } else {
                read()
            }
        }
        guard isTaken else {
            metrics.refused.add()
            throw StanzaError(.resourceConstraint, "too many queries at a time")
        }
    }

    private func notRead(_ error: StorageError, _ host: Host) -> StanzaError {
        guard error.code != .interrupted else {
            metrics.refused.add()
            return StanzaError(.resourceConstraint, "this takes too long; ask for less")
        }
        host.log.error("archive: \(error)")
        return StanzaError(.internalServerError, kind: .wait)
    }
}

extension Duration {
    fileprivate var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
