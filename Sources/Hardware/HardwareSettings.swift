// What an owner can choose about the readings of the machine.

/// Settings of the readings.
public struct HardwareSettings: Sendable, Equatable {
    /// Where Network UPS Tools listen on a machine that a UPS is connected to.
    public static let defaultUPS = "127.0.0.1:3493"
    /// Services whose state is shown where they are installed.
    public static let defaultUnits = [
        "ssh.service", "systemd-timesyncd.service", "chrony.service", "NetworkManager.service",
        "prometheus.service", "grafana-server.service", "smartmontools.service",
        "nut-server.service", "kinglet.service",
    ]
    /// The most units that are shown.
    public static let unitLimit = 32

    /// Address of the server that knows the UPS, as `host:port`; nil for none.
    public var ups: String?
    /// Whether an owner named that server: then it is a failure that it does not answer, and it is
    /// asked for a recorded machine too.
    public var isUPSConfigured: Bool
    /// Names of the systemd units that are shown.
    public var units: [String]

    /// Makes settings; the defaults are those of the options.
    public init(
        ups: String? = defaultUPS, isUPSConfigured: Bool = false, units: [String] = defaultUnits
    ) {
        self.ups = ups
        self.isUPSConfigured = isUPSConfigured
        self.units = units
    }

    /// The settings that the options' values stand for: an empty address for no UPS, and any but
    /// the default one for a server that has to be there.
    public init(ups: String, units: [String]) {
        self.init(
            ups: ups.isEmpty ? nil : ups, isUPSConfigured: !ups.isEmpty && ups != Self.defaultUPS,
            units: units)
    }

    /// What is wrong with an address of a UPS server; nil when it is good or empty.
    @Sendable public static func problem(ofUPS address: String) -> String? {
        address.isEmpty || NUTAddress(address) != nil
            ? nil : "expected HOST:PORT, with an IPv6 address in brackets"
    }

    /// What is wrong with the name of a unit; nil when it is good.
    @Sendable public static func problem(ofUnit name: String) -> String? {
        SystemdUnits.isUnitName(name)
            ? nil : "expected the full name of a unit, such as ssh.service"
    }
}
