// The options of the endpoints that this server itself gives to apps (UnifiedPush).

internal import Addresses
internal import Options

/// Who may have endpoints here.
enum EndpointAudience: String, CaseIterable, Sendable {
    /// Accounts of this server.
    case local
    /// Everybody who can reach it.
    case anybody
    case off
}

/// What the configuration says of endpoints.
struct EndpointOptions: Sendable {
    /// The longest time that an endpoint can live, whatever is configured.
    static let longestLife = Duration.seconds(90 * 86_400)
    /// Bytes of a public URL, so that an endpoint behind it is short enough.
    private static let longestURL = 200

    let audience: Setting<EndpointAudience>
    let publicURL: Setting<String?>
    let life: Setting<Duration>
    let keyLife: Setting<Duration>
    let rate: Setting<Int>

    init(_ options: OptionSet) {
        audience = options.choice(
            "push.unified_push", default: .local,
            help: "Who may have endpoints for other apps (UnifiedPush) here, with an app such as "
                + "Conversations that hands over what comes: accounts of this server, anybody, or "
                + "nobody.")
        publicURL = options.optionalText(
            "push.public_url", check: Self.problem(ofURL:), reloadable: true,
            help: "Where this server's HTTPS is reached from the internet, such as "
                + "https://chat.example.org. Endpoints begin with it. None given: the domain, with "
                + "the port that is listened on.")
        life = options.duration(
            "push.endpoint_life", default: .seconds(7 * 86_400),
            in: .seconds(3600)...Self.longestLife, reloadable: true,
            help: "For how long an endpoint can be used. Apps renew it before.")
        keyLife = options.duration(
            "push.endpoint_key_life", default: .seconds(30 * 86_400),
            in: .seconds(86_400)...(.seconds(365 * 86_400)), reloadable: true,
            help: "When the key that endpoints are encrypted with is followed by the next. Old "
                + "keys stay for as long as their endpoints can live.")
        rate = options.integer(
            "limits.push_endpoint_rate", default: 60, in: 1...6000, reloadable: true,
            help: "Pushes per minute to one endpoint, and as many at once.")
    }

    /// What is wrong with a public URL; nil when it is good.
    @Sendable static func problem(ofURL text: String) -> String? {
        guard let url = EndpointURL(text, longest: longestURL), url.isSecure, url.base != nil else {
            return "expected a URL like https://chat.example.org, of \(longestURL) bytes at most "
                + "and without ? and #"
        }
        return nil
    }

    /// What endpoints of a domain begin with, without a slash at the end; nil while the port is
    /// not known.
    func base(domain: String, port: Int?) -> String? {
        if let url = publicURL.value { return EndpointURL(url)?.base }
        guard let port, let name = try? Preparation.domainASCII(domain) else { return nil }
        return port == 443 ? "https://\(name)" : "https://\(name):\(port)"
    }
}
