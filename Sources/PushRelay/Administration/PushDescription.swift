// What the push relay shows of itself to a person. Of a token nothing is shown, of a URL its scheme
// and host, and of a node, which may be a token, the beginning.

internal import Addresses
internal import Engine
internal import Prometheus

/// Targets, in the order in which they came.
public struct PushTargetList: Codable, Sendable, Equatable {
    /// The targets.
    public var targets: [PushTargetDescription]
    /// More than are listed.
    public var hasMore: Bool
}

/// Whom somebody wants to be woken by.
public struct PushTargetDescription: Codable, Sendable, Equatable {
    /// Its number.
    public var id: Int64
    /// Whom it wakes; nil for a device that registered with this server's own app server.
    public var jid: String?
    /// Who delivers.
    public var provider: ProviderKind
    /// The app of the configuration.
    public var app: String?
    /// The app server that is told (XEP-0357), and the beginning of the node there.
    public var service, node: String?
    /// Of a device of our app server: where its owner's account is.
    public var domain: String?
    /// Scheme and host of a URL.
    public var server: String?
    /// The resource of the client that registered; nil for the account as a whole.
    public var device: String?
    /// The app's name for its device, where the app registered by HTTP.
    public var name: String?
    /// Its place among the tokens of that device: 1 is tried first.
    public var order: Int?
    /// Who reached that device last: one of the providers, or `connection`.
    public var wokenBy: String?
    /// When that was.
    public var woken: String?
    /// It is woken though another client is in use.
    public var always: Bool
    /// When it was registered, and when it was the last time, as XEP-0082 writes it.
    public var since, refreshed: String
    /// When the last push arrived.
    public var lastSent: String?
    /// What came of the last push: one of the reasons that the metrics have, and the provider's own
    /// word.
    public var reason: PushReason?
    /// The provider's own word or number.
    public var code: String?
    /// Final errors in a row.
    public var failures: Int
    /// Since when nothing is sent to it; why is the `reason`.
    public var disabled: String?
    /// What waits for it.
    public var waiting: WaitingPush?
    /// How it is with whoever delivers to it; nil if nobody has said that it is not well.
    public var circuit: PushCircuitDescription?
}

/// A push that is to be sent.
public struct WaitingPush: Codable, Sendable, Equatable {
    /// `message`, `call`, `call_ended` or `test`.
    public var kind: String
    /// Messages that nobody has seen.
    public var unread: Int
    /// How often it failed.
    public var tries: Int
    /// When it was asked for, when it is sent at the earliest, and when it is given up.
    public var added, next, expires: String
}

/// What waits for all targets, the oldest first.
public struct PushQueueDescription: Codable, Sendable, Equatable {
    /// One of them.
    public struct Entry: Codable, Sendable, Equatable {
        /// The target's number, and whom it wakes.
        public var target: Int64
        /// Nil for a device of our app server.
        public var jid: String?
        /// Who delivers.
        public var provider: ProviderKind
        /// Of what a program tells: the task, and how many targets wait.
        public var task: Int64?
        /// The target is the first of them.
        public var targets: Int?
        /// What waits.
        public var push: WaitingPush
        /// Whether anything is sent that way: `closed`, `open` or `half_open`.
        public var circuit: String?
    }

    /// The first of them.
    public var entries: [Entry]
    /// How many there are in all.
    public var total: Int
    /// How long the oldest has waited, in seconds.
    public var oldestAge: Int?
}

/// Pushes that were given up, the newest first.
public struct DeadPushList: Codable, Sendable, Equatable {
    /// One of them.
    public struct Letter: Codable, Sendable, Equatable {
        /// Its number, and the target's.
        public var id, target: Int64
        /// Whom it was for.
        public var jid: String?
        /// Who was to deliver it.
        public var provider: ProviderKind
        /// `message`, `call`, `call_ended` or `test`.
        public var kind: String
        /// Why it was given up.
        public var reason: PushReason
        /// The provider's own word or number.
        public var code: String?
        /// Messages that nobody had seen.
        public var unread: Int
        /// How often it was tried.
        public var tries: Int
        /// When it was asked for, and when it was given up.
        public var added, died: String
    }

    /// The newest of them.
    public var letters: [Letter]
    /// How many are remembered.
    public var total: Int
}

/// What came of trying pushes again that were given up.
public struct PushRedriving: Codable, Sendable, Equatable {
    /// One that could not be.
    public struct Failure: Codable, Sendable, Equatable {
        /// Its number.
        public var id: Int64
        /// Why, in a sentence.
        public var text: String
    }

    /// The numbers of those that are asked for again.
    public var done: [Int64]
    /// Those that could not be; they stay.
    public var failed: [Failure]
}

/// Those who deliver, and how it is with them.
public struct PushProvidersDescription: Codable, Sendable, Equatable {
    /// Whether anything is sent: the server runs, and neither `push.enabled` nor `--isolated`
    /// keeps it from that.
    public var sending: Bool
    /// The apps of the configuration, and what delivers to users' own targets.
    public var apps: [PushAppDescription]
    /// The ways that have something to do, or have failed.
    public var circuits: [PushCircuitDescription]
    /// Ways that are left out, for there are too many.
    public var omitted: Int
    /// What became of everything, since the data was made.
    public var books: [PushBooksDescription]
}

/// An app of the configuration in one environment, or what needs none.
public struct PushAppDescription: Codable, Sendable, Equatable {
    /// When a credential ends.
    public struct Expiry: Codable, Sendable, Equatable {
        /// What it is: `access_token`, `jwt`, `key`.
        public var kind: String
        /// When, as XEP-0082 writes it.
        public var time: String
    }

    /// Who delivers.
    public var provider: ProviderKind
    /// Its name; nil for users' own targets.
    public var app: String?
    /// `production` or `sandbox`, where there are several.
    public var environment: String?
    /// When what it holds ends.
    public var expiries: [Expiry]
    /// Where its provider may say that a notification has arrived, if that is told once, in its
    /// console. Who knows it can say so too.
    public var receipts: String?
}

/// What shares a credential and a server.
public struct PushCircuitDescription: Codable, Sendable, Equatable {
    /// An app's name, or the scheme, host and port of a server.
    public var name: String
    /// Who delivers.
    public var provider: ProviderKind
    /// `closed`, `open` (nothing is sent) or `half_open` (one is, and decides).
    public var state: String
    /// Since when it is open, and until when at least.
    public var since, until: String?
    /// Why it opened last.
    public var reason: PushReason?
    /// How many are under way, and how many are the next.
    public var inFlight, ready: Int
}

/// What became of all that was asked of a provider.
public struct PushBooksDescription: Codable, Sendable, Equatable {
    /// Whose they are.
    public var provider: ProviderKind
    /// What was asked for. It is the sum of what follows, but for `retried`.
    public var requested: Int
    /// It arrived.
    public var sent: Int
    /// Another took its place.
    public var collapsed: Int
    /// The device was in use first.
    public var suppressed: Int
    /// It was given up.
    public var dead: Int
    /// Its target was removed.
    public var dropped: Int
    /// The device's next token was tried instead.
    public var passedOn: Int
    /// It is still to be sent.
    public var waiting: Int
    /// Tries beyond the first.
    public var retried: Int
    /// Whether everything has become something.
    public var balanced: Bool

    init(_ provider: ProviderKind, _ books: PushBooks) {
        self.provider = provider
        requested = books.requested
        sent = books.sent
        collapsed = books.collapsed
        suppressed = books.suppressed
        dead = books.dead
        dropped = books.dropped
        passedOn = books.passedOn
        waiting = books.waiting
        retried = books.retried
        balanced = books.isBalanced
    }
}

/// The push relay as `kinglet status` shows it.
public struct PushSummary: Codable, Sendable, Equatable {
    /// Targets that are enabled, and that are not.
    public var targets, disabled: Int
    /// What waits.
    public var waiting: Int
    /// How long the oldest has waited, in seconds.
    public var oldestAge: Int?
    /// Ways on which nothing is sent for the time being; nil when no server runs.
    public var openCircuits: Int?
}

// MARK: In words

extension WaitingPush {
    /// What a row of the queue holds; nil if nothing waits.
    init?(_ row: PushQueueRow) {
        guard let due = row.due else { return nil }
        self.init(
            kind: row.kind.word, unread: row.unread, tries: row.tries,
            added: Clock.timestamp(row.added / 1000), next: Clock.timestamp(due / 1000),
            expires: Clock.timestamp(row.expires / 1000))
    }
}

extension WaitingPush {
    init(_ row: ParcelRow) {
        self.init(
            kind: PushNotification.Kind.notification.word, unread: 0, tries: row.tries,
            added: Clock.timestamp(row.added / 1000), next: Clock.timestamp(row.due / 1000),
            expires: Clock.timestamp(row.expires / 1000))
    }
}

extension PushCircuitDescription {
    init(_ name: String, _ circuit: Circuit, now: PushMoment) {
        /// By the clock that a person reads.
        func text(_ monotonic: Int64) -> String {
            Clock.timestamp((now.wall + monotonic - now.monotonic) / 1000)
        }
        let isOpen = circuit.breaker.state == .open
        self.init(
            name: name, provider: circuit.provider, state: circuit.breaker.state.rawValue,
            since: isOpen ? text(circuit.breaker.since) : nil,
            until: isOpen ? text(circuit.breaker.until) : nil, reason: circuit.breaker.reason,
            inFlight: circuit.inFlight, ready: circuit.readyCount)
    }
}

extension DeadPushList.Letter {
    init(_ letter: DeadLetter) {
        self.init(
            id: letter.id, target: letter.target, jid: letter.account, provider: letter.provider,
            kind: letter.kind.word, reason: letter.reason,
            code: letter.code.isEmpty ? nil : letter.code, unread: letter.unread,
            tries: letter.tries, added: Clock.timestamp(letter.added / 1000),
            died: Clock.timestamp(letter.died / 1000))
    }
}

extension PushTargetRow {
    /// As a person may see it.
    func description(
        _ keys: PushKeys, _ queued: PushQueueRow?, _ circuit: PushCircuitDescription?,
        device: PushDeviceRow? = nil, reached: Reached? = nil
    ) -> PushTargetDescription {
        PushTargetDescription(
            id: id, jid: account?.description, provider: provider,
            app: app.isEmpty ? nil : app,
            service: account == nil || service.isEmpty ? nil : service,
            node: node.isEmpty ? nil : Self.shortened(node),
            domain: account == nil && !domain.isEmpty ? domain : nil, server: server(keys),
            device: resource, name: device?.name,
            order: device == nil ? nil : Int(clamping: rank) + 1, wokenBy: reached?.way,
            woken: (reached?.time).map { Clock.timestamp($0) }, always: isAlways,
            since: Clock.timestamp(created),
            refreshed: Clock.timestamp(refreshed), lastSent: sentAt.map { Clock.timestamp($0) },
            reason: reason, code: code.isEmpty ? nil : code, failures: failures,
            disabled: disabledAt.map { Clock.timestamp($0) },
            waiting: queued.flatMap { WaitingPush($0) }, circuit: circuit)
    }

    /// Some app servers have a device's token for a node.
    private static func shortened(_ node: String) -> String {
        let most = 6
        guard node.unicodeScalars.count > most else { return node }
        return String(String.UnicodeScalarView(node.unicodeScalars.prefix(most))) + "…"
    }

    /// The rest of a URL is as good as a password.
    private func server(_ keys: PushKeys) -> String? {
        switch provider {
        case .xmpp, .apns, .fcm, .huawei, .honor, .xiaomi, .oppo, .vivo, .meizu: nil
        case .webPush, .unifiedPush, .ntfy, .gotify:
            keys.target(secret).flatMap { EndpointURL($0.token) }?.origin
        }
    }
}
