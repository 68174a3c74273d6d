// With whom this server federates: what an administrator said by command, then the lists of the
// configuration, then the policy.

internal import Addresses
internal import Options
public import Prometheus
internal import Storage
internal import Synchronization

/// Which side opened a stream, or which way stanzas go.
public enum FederationDirection: String, MetricLabel, Codable {
    case incoming = "in"
    case outgoing = "out"
    /// The label's name.
    public static var labelName: String { "direction" }
}

/// What an administrator said of a domain.
struct FederationRule: Sendable, Equatable {
    let pattern: DomainPattern
    let direction: FederationDirection
    let isAllowed: Bool
}

extension DomainPattern: CustomStringConvertible {
    var description: String { isBelow ? "*." + domain : domain }
}

/// Decides. Safe on any thread.
public final class FederationPolicy: Sendable {
    private struct State {
        var rules: [FederationRule] = []
        var tables: Tables
        /// What was decided since the rules, the lists or the policy changed; asked for every
        /// stanza.
        var decisions: [Question: Bool] = [:]
    }

    /// The rules and the lists, ready to be looked into: both may be long, and anybody can come with
    /// names that were never decided about.
    private struct Tables {
        var incoming = DomainTable<Bool>()
        var outgoing = DomainTable<Bool>()
        var allow: DomainTable<Bool>
        var deny: DomainTable<Bool>
    }

    private struct Question: Hashable {
        let domain: String
        let direction: FederationDirection
    }

    private static let pushDomains = FederationOptions.pushDomains.compactMap(DomainPattern.init)

    /// More decisions than this are not remembered.
    private static let memory = 4096

    private let options: FederationOptions
    private let state: Mutex<State>

    init(_ options: FederationOptions) {
        self.options = options
        state = Mutex(
            State(
                tables: Tables(
                    allow: DomainTable(options.allow.value),
                    deny: DomainTable(options.deny.value))))
        options.policy.onChange { [weak self] _ in self?.change { _ in } }
        options.allow.onChange { [weak self] list in
            let table = DomainTable(list)
            self?.change { $0.tables.allow = table }
        }
        options.deny.onChange { [weak self] list in
            let table = DomainTable(list)
            self?.change { $0.tables.deny = table }
        }
    }

    /// Changes what decides.
    private func change(_ body: (inout State) -> Void) {
        state.withLock { state in
            body(&state)
            state.decisions = [:]
        }
    }

    /// The rules given by command.
    var allRules: [FederationRule] { state.withLock { $0.rules } }

    func load(_ connection: Connection) throws {
        replace(try FederationRuleStore.all(connection))
    }

    /// These are the rules from now on.
    func replace(_ rules: [FederationRule]) {
        var incoming = DomainTable<Bool>()
        var outgoing = DomainTable<Bool>()
        for rule in rules {
            switch rule.direction {
            case .incoming: incoming[rule.pattern] = rule.isAllowed
            case .outgoing: outgoing[rule.pattern] = rule.isAllowed
            }
        }
        change { state in
            state.rules = rules
            state.tables.incoming = incoming
            state.tables.outgoing = outgoing
        }
    }

    /// Whether stanzas may go to a domain, or come from it. A rule for the very domain comes before
    /// one for all below another, and the nearest of those before others.
    public func allows(_ domain: String, _ direction: FederationDirection) -> Bool {
        let question = Question(domain: domain, direction: direction)
        return state.withLock { state in
            if let known = state.decisions[question] { return known }
            let decision = decide(domain, direction, state.tables)
            if state.decisions.count >= Self.memory { state.decisions = [:] }
            state.decisions[question] = decision
            return decision
        }
    }

    private func decide(
        _ domain: String, _ direction: FederationDirection, _ tables: Tables
    ) -> Bool {
        guard options.policy.value != .off else { return false }
        let rules = direction == .incoming ? tables.incoming : tables.outgoing
        if let isAllowed = rules.first(domain) { return isAllowed }
        if tables.deny.first(domain) != nil { return false }
        return options.policy.value == .open || tables.allow.first(domain) != nil
    }

    /// Whether the domain is an app server that wakes phones, by the list of those that are known.
    public static func isPushDomain(_ domain: String) -> Bool {
        pushDomains.contains { $0.matches(domain) }
    }
}
