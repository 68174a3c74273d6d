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
        /// What was decided since the rules, the lists or the policy changed; asked for every
        /// stanza.
        var decisions: [Question: Bool] = [:]
        var generation = 0
    }

    private struct Question: Hashable {
        let domain: String
        let direction: FederationDirection
    }

    private static let pushDomains = FederationOptions.pushDomains.compactMap(DomainPattern.init)

    /// More decisions than this are not remembered.
    private static let memory = 4096

    private let options: FederationOptions
    private let state = Mutex(State())

    init(_ options: FederationOptions) {
        self.options = options
        options.policy.onChange { [weak self] _ in self?.forget() }
        options.allow.onChange { [weak self] _ in self?.forget() }
        options.deny.onChange { [weak self] _ in self?.forget() }
    }

    private func forget() {
        state.withLock { state in
            state.decisions = [:]
            state.generation += 1
        }
    }

    /// The rules given by command.
    var allRules: [FederationRule] { state.withLock { $0.rules } }

    func load(_ connection: Connection) throws {
        replace(try FederationRuleStore.all(connection))
    }

    /// These are the rules from now on.
    func replace(_ rules: [FederationRule]) {
        state.withLock { $0.rules = rules }
        forget()
    }

    /// Whether stanzas may go to a domain, or come from it. A rule for the very domain comes before
    /// one for all below another; deny before allow among equals.
    public func allows(_ domain: String, _ direction: FederationDirection) -> Bool {
        let question = Question(domain: domain, direction: direction)
        let (known, rules, generation) = state.withLock { state in
            (state.decisions[question], state.rules, state.generation)
        }
        if let known { return known }
        let decision = decide(domain, direction, rules)
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.decisions.count >= Self.memory { state.decisions = [:] }
            state.decisions[question] = decision
        }
        return decision
    }

    private func decide(
        _ domain: String, _ direction: FederationDirection, _ rules: [FederationRule]
    ) -> Bool {
        guard options.policy.value != .off else { return false }
        let matching = rules.filter {
            $0.direction == direction && $0.pattern.matches(domain)
        }
        if let rule = matching.max(by: { Self.weight($0) < Self.weight($1) }) {
            return rule.isAllowed
        }
        if Self.holds(options.deny.value, domain) { return false }
        return options.policy.value == .open || Self.holds(options.allow.value, domain)
    }

    private static func weight(_ rule: FederationRule) -> Int {
        (rule.pattern.isBelow ? rule.pattern.domain.utf8.count : 10_000) * 2
            + (rule.isAllowed ? 0 : 1)
    }

    private static func holds(_ patterns: [String], _ domain: String) -> Bool {
        patterns.contains { DomainPattern($0)?.matches(domain) ?? false }
    }

    /// Whether the domain is an app server that wakes phones, by the list of those that are known.
    public static func isPushDomain(_ domain: String) -> Bool {
        pushDomains.contains { $0.matches(domain) }
    }
}
