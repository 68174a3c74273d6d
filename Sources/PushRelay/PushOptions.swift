// The options of the push relay, apart from the apps' credentials.

public import Options

/// Which messages in a room wake a device that has joined it.
enum RoomPolicy: String, CaseIterable, Sendable {
    /// Those that name the user.
    case mention
    case always
    case never
}

/// What a push relay is told by the configuration.
public struct PushOptions: Sendable {
    let isEnabled: Setting<Bool>
    let hasAppServer: Setting<Bool>
    let lifetime: Setting<Duration>
    let window: Setting<Duration>
    let rooms: Setting<RoomPolicy>
    let includesSender: Setting<Bool>
    let includesBody: Setting<Bool>
    let allowsPrivateTargets: Setting<Bool>
    /// A file of the configuration; relative to it.
    public let authorities: Setting<String?>
    let rate: Setting<Int>
    let deadLetters: Setting<Int>
    let targets: Setting<Int>
    let devices: Setting<Int>
    /// So many of the devices may be another domain's: none of them fills the table for all.
    var deviceShare: Int { devices.value / 10 }
    /// The apps with credentials.
    let apps: PushAppOptions
    /// Endpoints of our own.
    let endpoints: EndpointOptions

    init(_ options: OptionSet) {
        options.section("push", help: "Waking phones that sleep.")
        isEnabled = options.boolean(
            "push.enabled", default: true,
            help: "Whether anything is sent. Otherwise registrations are taken, and what is to be "
                + "sent waits.")
        hasAppServer = options.boolean(
            "push.app_server", default: true,
            help: "Whether push.<domain> takes registrations of apps (XEP-0357, XEP-0050).")
        lifetime = options.duration(
            "push.lifetime", default: .seconds(3 * 86_400),
            in: .seconds(60)...(.seconds(28 * 86_400)), reloadable: true,
            help: "For how long a push about a message is tried, and kept by the provider.")
        window = options.duration(
            "push.window", default: .seconds(5), in: .zero...(.seconds(60)), reloadable: true,
            help: "A device is woken once in this time, with all that has come; calls do not wait.")
        rooms = options.choice(
            "push.rooms", default: .mention, reloadable: true,
            help: "Which messages in rooms wake a device: those that mention the user's nickname, "
                + "all, or none.")
        includesSender = options.boolean(
            "push.include_sender", default: false, reloadable: true,
            help: "Whether a push tells who writes. Providers, and the people behind an app "
                + "server, read it.")
        includesBody = options.boolean(
            "push.include_body", default: false, reloadable: true,
            help: "Whether a push holds the beginning of the message. Providers, and the people "
                + "behind an app server, read it.")
        allowsPrivateTargets = options.boolean(
            "push.allow_private_targets", default: false, reloadable: true,
            help: "Whether targets may be in a private network or on this machine, such as an own "
                + "ntfy or Gotify, also without TLS. Every user can then have this server send "
                + "requests there.")
        authorities = options.optionalText(
            "push.authorities",
            help: "PEM file with certificates of authorities that are trusted for push servers "
                + "besides the system's.")
        rate = options.integer(
            "push.rate", default: 100, in: 1...10_000, reloadable: true,
            help: "Pushes per second to one provider with one credential, twice as many at once.")
        deadLetters = options.integer(
            "push.dead_letters", default: 1000, in: 10...100_000, reloadable: true,
            help: "Pushes that were given up and are remembered.")
        targets = options.integer(
            "limits.push_targets", default: 20, in: 1...1000, reloadable: true,
            help: "App servers and other targets of one account, and devices that one account may "
                + "register at push.<domain>.")
        devices = options.integer(
            "limits.push_devices", default: 200_000, in: 100...10_000_000, reloadable: true,
            help: "Devices that may be registered at push.<domain>.")
        apps = PushAppOptions(options)
        endpoints = EndpointOptions(options)
    }
}
