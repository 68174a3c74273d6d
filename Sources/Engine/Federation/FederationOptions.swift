// How this server talks to others.

internal import Addresses
public import Options

/// With whom this server federates when no rule names the domain.
public enum FederationPolicyChoice: String, CaseIterable, Sendable {
    /// With nobody, whatever the lists say.
    case off
    /// With the domains of `federation.allow`.
    case allowlist
    /// With everybody but the domains of `federation.deny`.
    case open
}

/// The options of federation, read where they apply, so that a reload takes effect at once.
public struct FederationOptions: Sendable {
    /// Where the apps that people use are woken from: their makers' app servers (XEP-0357).
    public static let pushDomains = [
        "p2.siacs.eu", "*.push.monal-im.org", "push.tigase.im", "push.snikket.net",
        "push-ios.snikket.net",
    ]

    /// With whom, in general.
    public let policy: Setting<FederationPolicyChoice>
    /// Domains to federate with; `*.example.org` is every domain below.
    public let allow: Setting<[String]>
    /// Domains not to federate with, whatever `allow` says.
    public let deny: Setting<[String]>
    /// Whether a server may prove itself by dialback (XEP-0220) where its certificate does not.
    public let dialback: Setting<Bool>
    /// PEM files of authorities that vouch for other servers besides the system's.
    public let authorities: Setting<[String]>
    /// Name servers to ask; none given: the system's.
    public let nameservers: Setting<[String]>
    /// Whether other servers may have private and loopback addresses.
    public let allowsPrivateAddresses: Setting<Bool>
    /// Connections to other servers that are being opened at one time.
    public let connecting: Setting<Int>
    /// Streams to and from other servers.
    public let streams: Setting<Int>
    /// Time after which a stream without use is closed.
    public let idle: Setting<Duration>
    /// Stanzas that wait for one domain.
    public let queueStanzas: Setting<Int>
    /// Bytes that wait for one domain.
    public let queueBytes: Setting<Int>
    /// Bytes that wait for all of them.
    public let queueTotal: Setting<Int>
    /// How long a message waits for a domain that cannot be reached.
    public let queueAge: Setting<Duration>
    /// Longest time between two attempts to reach a domain.
    public let longestPause: Setting<Duration>
    /// Stanzas a minute that one who is in nobody's roster may send.
    public let strangerRate: Setting<Int>

    init(_ options: OptionSet) {
        options.section("federation", help: "Streams to and from other servers, port 5269.")
        policy = options.choice(
            "federation.policy", default: .allowlist, reloadable: true,
            help: "off: with nobody. allowlist: with the domains in federation.allow. open: with "
                + "everybody but those in federation.deny.")
        allow = options.list(
            "federation.allow", default: Self.pushDomains, maximumCount: 10_000,
            check: Self.problem, reloadable: true,
            help: "Domains to federate with; *.example.org is every domain below example.org. "
                + "Given anew, it replaces the default: the app servers that wake phones.")
        deny = options.list(
            "federation.deny", default: [], maximumCount: 10_000,
            check: Self.problem, reloadable: true,
            help: "Domains not to federate with. kinglet federation allow and deny say more.")
        dialback = options.boolean(
            "federation.dialback", default: false, reloadable: true,
            help: "Whether a server without a good certificate may prove its name by DNS "
                + "(XEP-0220), which is weaker: whoever can forge its DNS gets its mail, unless "
                + "a good certificate was seen since the start.")
        authorities = options.list(
            "federation.authorities", default: [], reloadable: true,
            help: "PEM files of authorities, and of their lists of revoked certificates, that are "
                + "trusted for other servers besides the system's.")
        nameservers = options.list(
            "federation.nameservers", default: [],
            help: "Name servers to ask, as ADDRESS or ADDRESS:PORT. None given: the system's.")
        allowsPrivateAddresses = options.boolean(
            "federation.allow_private_addresses", default: false, reloadable: true,
            help: "Whether another server's name may lead to a private or loopback address, as in "
                + "a network without public ones.")
        connecting = options.integer(
            "federation.connecting", default: 16, in: 1...256, reloadable: true,
            help: "Connections to other servers that are opened at one time; others wait, but for "
                + "two seconds at most until there are eight times as many.")
        streams = options.integer(
            "federation.streams", default: 1000, in: 2...100_000, reloadable: true,
            help: "Streams from other servers at one time.")
        idle = options.duration(
            "federation.idle", default: .seconds(900), in: .seconds(10)...(.seconds(86_400)),
            reloadable: true, help: "Time after which a stream without stanzas is closed.")
        queueStanzas = options.integer(
            "federation.queue_stanzas", default: 2000, in: 1...1_000_000, reloadable: true,
            help: "Stanzas that may wait for one domain; further ones go back to their senders.")
        queueBytes = options.size(
            "federation.queue_bytes", default: 4_194_304, in: 65_536...1_073_741_824,
            reloadable: true, help: "Bytes that may wait for one domain.")
        queueTotal = options.size(
            "federation.queue_total", default: 33_554_432, in: 65_536...1_073_741_824,
            reloadable: true, help: "Bytes that may wait for all other domains.")
        queueAge = options.duration(
            "federation.queue_age", default: .seconds(86_400),
            in: .seconds(1)...(.seconds(1_209_600)), reloadable: true,
            help: "Time that a message waits for a domain that cannot be reached, before it goes "
                + "back to its sender.")
        longestPause = options.duration(
            "federation.longest_pause", default: .seconds(300),
            in: .seconds(1)...(.seconds(86_400)), reloadable: true,
            help: "Longest time between two attempts to reach a domain; the first comes after a "
                + "second or two.")
        strangerRate = options.integer(
            "federation.stranger_rate", default: 30, in: 1...100_000, reloadable: true,
            help: "Stanzas a minute from one address of another domain to people who do not have "
                + "it in their contacts.")
    }

    private static let problem: @Sendable (String) -> String? = { text in
        DomainPattern(text) == nil
            ? "this is no domain; write example.org, or *.example.org for all below it" : nil
    }
}

/// A domain, or all domains below one.
struct DomainPattern: Sendable, Hashable {
    let domain: String
    let isBelow: Bool

    init?(_ text: String) {
        isBelow = text.hasPrefix("*.")
        guard let domain = try? Preparation.domain(isBelow ? String(text.dropFirst(2)) : text)
        else { return nil }
        self.domain = domain
    }

    func matches(_ other: String) -> Bool {
        isBelow ? other.hasSuffix("." + domain) : other == domain
    }
}
