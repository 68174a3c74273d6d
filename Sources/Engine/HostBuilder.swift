// The time before the start: features declare what they need, and nothing runs yet. The same
// declarations give the configuration reference and the table of specifications.

public import Options
public import Prometheus
public import Storage
internal import XML
public import XMPP

/// Collects declarations. Used by one thread, before the server starts.
public final class HostBuilder {
    /// Where options are declared and read.
    public let options: OptionSet
    /// Where metrics are declared.
    public let registry: Registry
    /// The hooks that features fill.
    public var hooks = Hooks()
    /// The program's anonymous memory in bytes, which `limits.memory` limits; tests replace it.
    public var memoryInUse: @Sendable () -> Int? = { ProcessMetrics.anonymousMemory() }
    /// The commands that are run at the server's own address (XEP-0050).
    public let commands = CommandTable()
    /// Declared specifications in order.
    public private(set) var specifications: [Specification] = []

    let limits: Limits
    let metrics: EngineMetrics
    let iterations: Setting<Int>
    let durability: Setting<Durability>
    let storageQueue: Setting<Int>
    private(set) var steps =
        Accounts.schema + MessageStore.schema + SuspendedSessionStore.schema
        + RestorationStore.schema + OutgoingStore.schema + FederationRuleStore.schema
    private(set) var iqHandlers: [String: IQHandler] = [:]
    private(set) var openHandlers: [String: OpenIQHandler] = [:]
    let federation: FederationOptions
    let federationMetrics: FederationMetrics
    /// The components that may attach.
    public let components: ComponentOptions
    let componentMetrics: ComponentMetrics
    private var serviceKeys: [(service: any LocalService, key: String)] = []
    private(set) var streamElements: [String: StreamElementHandler] = [:]
    private(set) var serverInfo = DiscoveryInfo()
    private(set) var accountInfo = DiscoveryInfo()

    /// Declares the engine's own options and metrics.
    public init(options: OptionSet, registry: Registry) {
        self.options = options
        self.registry = registry
        limits = Limits(options)
        metrics = EngineMetrics(registry)
        options.section("storage", help: "The database in the data directory.")
        federation = FederationOptions(options)
        federationMetrics = FederationMetrics(registry)
        components = ComponentOptions(options)
        componentMetrics = ComponentMetrics(registry)
        durability = options.choice(
            "storage.durability", default: .full,
            help: "full: what was acknowledged survives a power cut. relaxed: the last seconds "
                + "may be lost with the power, in return for fewer writes.")
        storageQueue = options.size(
            "storage.queue", default: 33_554_432, in: 1_048_576...1_073_741_824,
            help: "Bytes of messages and changes that may wait for the disk; further ones are "
                + "refused with an error.")
        iterations = options.integer(
            "storage.scram_iterations", default: 10_000, in: 4096...1_000_000,
            help: "PBKDF2 rounds for new passwords.")
        specifications =
            ClientStream.specifications + Components.specifications + Federation.specifications
        hooks.takesMessages.append { session, host in
            host.federation.returned.handOver(to: session, host)
        }
        hooks.sessionEnded.append { _, session, host in
            if let session { host.federation.returned.sessionEnded(session, host) }
        }
        answer("bind", Namespaces.bind, for: [.server, .ownAccount]) {
            _, _, _, _ throws(StanzaError) in
            throw StanzaError(.notAllowed, "a stream has one resource, and this one has it")
        }
    }

    /// Adds a feature.
    public func add(_ feature: any Feature.Type) {
        specifications += feature.specifications
        _ = feature.init(in: self)
    }

    /// Notes specifications that a part of this program follows which is no feature.
    public func follow(_ specifications: [Specification]) {
        self.specifications += specifications
    }

    /// Has a part of this program answer for a domain.
    ///
    /// - Parameter key: the option that gives the domain.
    public func add(_ service: any LocalService, key: String) {
        serviceKeys.append((service, key))
    }

    var services: [any LocalService] { serviceKeys.map(\.service) }

    /// The prepared domains that parts of this program answer for, in their order.
    public var serviceDomains: [String] { serviceKeys.map(\.service.domain) }

    /// Reports services whose domain is one of the server's own, a component's, or given twice.
    public func checkServices(against domains: [String]) {
        var seen: Set<String> = []
        for (service, key) in serviceKeys {
            let domain = service.domain
            let owner: String? =
                if domains.contains(domain) {
                    "a domain of this server"
                } else if components.domains.contains(domain) {
                    "the domain of a component"
                } else if !seen.insert(domain).inserted {
                    "the domain of another service"
                } else { nil }
            guard let owner else { continue }
            options.problem(
                key: key, "\(domain) is \(owner)",
                advice: "give it a domain of its own, such as \(key.prefix { $0 != "." })"
                    + ".\(domains.first ?? domain)")
        }
    }

    /// Adds a step to the schema.
    public func schema(_ step: SchemaStep) {
        steps.append(step)
    }

    /// Has the server answer requests whose payload is `<name xmlns='namespace'/>`.
    public func answer(
        _ name: String, _ namespace: String, for targets: Set<IQTarget>,
        _ answer:
            @escaping @Sendable (IQRequest, IQTarget, Session, Host) throws(StanzaError) -> IQAnswer
    ) {
        let key = "\(namespace) \(name)"
        precondition(iqHandlers[key] == nil, "two features answer \(key)")
        iqHandlers[key] = IQHandler(targets: targets, answer: answer)
    }

    /// Has the server answer requests whose payload is `<name xmlns='namespace'/>`, whoever sends
    /// them: a local client, another server, a component.
    public func answerAnybody(
        _ name: String, _ namespace: String, for targets: Set<IQTarget>,
        _ answer:
            @escaping @Sendable (IQRequest, IQTarget, Host) throws(StanzaError) -> OpenIQAnswer
    ) {
        let key = "\(namespace) \(name)"
        precondition(
            iqHandlers[key] == nil && openHandlers[key] == nil, "two features answer \(key)")
        openHandlers[key] = OpenIQHandler(targets: targets, answer: answer)
    }

    /// Declares a command that is run at the server's own address (XEP-0050).
    ///
    /// - Parameters:
    ///   - node: its name for programs.
    ///   - name: its name for people.
    ///   - audience: who sees it and may run it.
    public func command(
        node: String, name: String, for audience: CommandAudience,
        _ handler: @escaping CommandHandler
    ) {
        commands.add(node: node, name: name, for: audience, handler)
    }

    /// Takes first-level elements of a namespace that are no stanzas, from clients that have a
    /// session.
    public func take(_ namespace: String, _ handler: @escaping StreamElementHandler) {
        precondition(streamElements[namespace] == nil, "two features take \(namespace)")
        streamElements[namespace] = handler
    }

    /// Lists a namespace in the answers of service discovery (XEP-0030).
    public func advertise(_ namespace: String, for targets: Set<IQTarget> = [.server]) {
        describe(targets) { $0.features.insert(namespace) }
    }

    /// Adds what the server or an account is to the answers of service discovery.
    public func advertise(_ identity: DiscoveryInfo.Identity, for targets: Set<IQTarget>) {
        describe(targets) { $0.identities.append(identity) }
    }

    /// Adds a form with a `FORM_TYPE` to the server's answer (XEP-0128).
    public func advertise(_ form: DataForm) {
        serverInfo.forms.append(form)
    }

    private func describe(_ targets: Set<IQTarget>, _ change: (inout DiscoveryInfo) -> Void) {
        if targets.contains(.server) { change(&serverInfo) }
        if targets.contains(.ownAccount) || targets.contains(.account) { change(&accountInfo) }
    }
}
