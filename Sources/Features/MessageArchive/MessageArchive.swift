// XEP-0313: every account has an archive of its messages, which all its devices can read: the same
// history everywhere. The ids are those of XEP-0359, preferences those of XEP-0441, full-text
// search that of XEP-0431. What is kept says `ArchiveContent`; hints (XEP-0334) are obeyed. Messages
// are stored by the engine, once for sender and receiver.

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

struct MessageArchive: Feature {
    static let specifications = [
        Specification("XEP-0059", version: "1.0", "Result Set Management"),
        Specification("XEP-0313", version: "1.1.3", "Message Archive Management"),
        Specification("XEP-0334", version: "1.0.0", "Message Processing Hints"),
        Specification("XEP-0359", version: "0.7.0", "Unique and Stable Stanza IDs"),
        Specification("XEP-0431", version: "0.2.0", "Full Text Search in MAM"),
        Specification("XEP-0441", version: "0.2.0", "Message Archive Management Preferences"),
    ]
    static let namespace = ArchiveQuery.namespace

    /// Two restores of the same backup get the same epoch once in a million times, and there are
    /// numbers for thousands of restores.
    private static let longestEpochStep: UInt32 = 1 << 20

    init(in host: HostBuilder) {
        for step in MessageArchiveStore.schema { host.schema(step) }
        host.options.section("archive", help: "The history of messages on the server (XEP-0313).")
        let archive = Archive(
            options: ArchiveOptions(host.options), metrics: ArchiveMetrics(host.registry))
        host.advertise("urn:xmpp:sid:0", for: [.server, .ownAccount])
        // The server itself has no archive (section 6.1).
        for feature in ["", "#extended", "#groupchat-field"] {
            host.advertise(Self.namespace + feature, for: [.ownAccount])
        }
        host.advertise("urn:xmpp:fulltext:0", for: [.ownAccount])
        host.hooks.started.append { archive.start($0) }
        host.hooks.restored.append { connection in
            try MessageArchiveStore.beginEpoch(
                connection, step: .random(in: 1...Self.longestEpochStep),
                newKey: SecureRandom.bytes(ArchiveIDKey.length))
        }
        host.hooks.longestHistory = { connection in
            guard let owner = try ArchiveQueryStore.longest(connection) else { return nil }
            return (
                owner, try ArchiveQueryStore.count(connection, ArchiveSelection(owner: owner))
            )
        }
        host.hooks.isKept = { archive.mayKeep($0, $1) }
        host.hooks.keepers = { try archive.keepers($0, $1, $2) }
        host.hooks.stanzaID = { archive.stanzaID($0, $1) }
        host.hooks.settleMessages.append { try MessageArchiveStore.settle($1, $0) }
        host.hooks.messagesSettled.append { archive.messagesSettled($0) }
        host.hooks.accountSizes.append { account, connection in
            let number = try MessageStore.existingNumber(of: account, in: connection)
            let usage = try number.map { try MessageArchiveStore.usage(connection, of: $0) }
            return [
                AccountSize("archive_messages", usage?.messages ?? 0),
                AccountSize("archive_bytes", usage?.bytes ?? 0),
            ]
        }
        host.hooks.removeAccount.append { account, connection in
            guard let number = try MessageStore.existingNumber(of: account, in: connection) else {
                return
            }
            try MessageArchiveStore.markRemoved(connection, of: number)
        }
        host.hooks.past = { try MessageArchiveStore.past(of: $0, $1) }
        host.hooks.mergeAccount.append { merge, host, connection in
            let archive = ArchiveMerge(merge.account, merge.backup, connection)
            return [AccountSize("archive_preferences", try archive.preferences() ? 1 : 0)]
                + (try archive.run(isWaiting: host.hooks.isWaiting))
        }
        host.hooks.accountRemoved.append { archive.accountRemoved($1) }
        host.answer("query", Self.namespace, for: [.ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            guard target == .ownAccount else { throw foreign }
            guard request.isSet else { return .result(ArchiveQuery.form) }
            try archive.query(try ArchiveQuery(request.payload), request, session, host)
            return .later
        }
        host.answer("metadata", Self.namespace, for: [.ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            guard target == .ownAccount else { throw foreign }
            guard !request.isSet else { throw notChangeable }
            try archive.metadata(request, session, host)
            return .later
        }
        host.answer("prefs", Self.namespace, for: [.ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            guard target == .ownAccount else { throw foreign }
            if request.isSet {
                let preferences = try ArchivePreferences(request.payload)
                archive.save(preferences, request, session, host)
            } else {
                archive.preferences(request, session, host)
            }
            return .later
        }
    }
}

/// Nobody reads somebody else's archive.
private let foreign = StanzaError(.forbidden, "this is somebody else's archive")

/// What an owner can set.
struct ArchiveOptions: Sendable {
    let rule: Setting<ArchivePreferences.Rule>
    let page: Setting<Int>
    let queryTime: Setting<Duration>
    let maximumAge: Setting<Duration>
    let maximumSize: Setting<Int>
    let domains: Setting<[ConfigurationRecord]>

    private static let ages = Duration.seconds(0)...(.seconds(3_153_600_000))
    private static let sizes = 0...1_099_511_627_776

    init(_ options: OptionSet) {
        rule = options.choice(
            "archive.default", default: ArchivePreferences.Rule.always, reloadable: true,
            help: "What is kept for a user who has not chosen: always everything, roster for "
                + "contacts in the roster, never nothing.")
        page = options.integer(
            "archive.page", default: 250, in: 10...5000, reloadable: true,
            help: "Most messages in one answer to a query.")
        queryTime = options.duration(
            "archive.query_time", default: .seconds(2), in: .milliseconds(50)...(.seconds(60)),
            reloadable: true,
            help: "Time that one query or search may take; then it is given up.")
        maximumAge = options.duration(
            "archive.max_age", default: .seconds(0), in: Self.ages, reloadable: true,
            help: "Age after which messages are deleted; 0 for never.")
        maximumSize = options.size(
            "archive.max_size", default: 0, in: Self.sizes, reloadable: true,
            help: "Bytes of messages in the archives of one domain's users; the oldest go when "
                + "there are more. 0 for no limit.")
        domains = options.records(
            "archive.domains",
            fields: [
                RecordField(
                    name: "domains", required: true, list: true, help: "The domains it is for."),
                RecordField(
                    name: "max_age", content: .duration(Self.ages),
                    help: "In place of archive.max_age."),
                RecordField(
                    name: "max_size", content: .size(Self.sizes),
                    help: "In place of archive.max_size, for each of the domains."),
            ], reloadable: true, help: "What is different for some of the domains.")
    }
}

/// What a query is for.
enum ArchiveQueryKind: String, MetricLabel {
    case page, search, count, metadata
    /// The label's name.
    static var labelName: String { "kind" }
}

struct ArchiveMetrics: Sendable {
    let messages: Gauge
    let bytes: Gauge
    let queryTime: LabelledHistogram<ArchiveQueryKind>
    let refused: Counter
    let removed: Counter

    init(_ registry: Registry) {
        messages = registry.gauge(
            "kinglet_archive_messages",
            help: "Entries in all archives; a message between two local users has two.")
        bytes = registry.gauge(
            "kinglet_archive_bytes", help: "Bytes of the messages in all archives, by entry.")
        queryTime = registry.histogram(
            "kinglet_archive_query_seconds", by: ArchiveQueryKind.self,
            help: "Time that queries of archives took in the database.",
            buckets: [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5])
        refused = registry.counter(
            "kinglet_archive_queries_refused_total",
            help: "Queries that took too long or came too many at a time.")
        removed = registry.counter(
            "kinglet_archive_removed_total",
            help: "Entries that were removed for their age, the archives' size, or with accounts.")
    }
}
