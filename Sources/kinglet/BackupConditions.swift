// What backups yield to, from the readings of the machine.

internal import Backup
internal import Glibc
internal import Hardware
internal import Synchronization

/// Looks at the machine for the backup. Safe on any thread.
final class BackupWeather: Sendable {
    /// From this share of the time on in which some work waits, a machine is busy.
    private static let busy = 0.6
    /// Readings are some seconds old: over a shorter time their difference says little.
    private static let shortest = Duration.seconds(60)
    /// Whoever sets the clock leaves one of these.
    private static let timeServices = [
        "/run/systemd/timesync", "/run/chrony", "/run/ntpd.pid", "/run/ntpsec", "/run/openntpd.pid",
    ]

    private struct Load {
        var waited: [Double]
        var at: ContinuousClock.Instant
        var isHigh: Bool?
    }

    private let hardware: HardwareMonitor
    private let load = Mutex<Load?>(nil)

    init(_ hardware: HardwareMonitor) { self.hardware = hardware }

    /// How the machine is now.
    var conditions: BackupConditions {
        var conditions = BackupConditions()
        conditions.clockIsRight = clockIsRight
        conditions.isOnBattery = any(["kinglet_machine_ups_on_battery"])
        conditions.isThrottled = any(["rpi_throttled_active", "rpi_undervoltage_active"])
        conditions.temperature = hardware.latestValues(of: "rpi_temperature_celsius").max()
        conditions.isUnderLoad = isUnderLoad
        return conditions
    }

    private func any(_ names: [String]) -> Bool? {
        let values = names.flatMap { hardware.latestValues(of: $0) }
        return values.isEmpty ? nil : values.contains { $0 > 0 }
    }

    /// A clock that nobody sets will not become right by waiting.
    var clockIsRight: Bool? {
        let isSynchronised = any(["kinglet_machine_clock_synchronised"])
        guard isSynchronised == false else { return isSynchronised }
        return Self.timeServices.contains { access($0, F_OK) == 0 } ? false : nil
    }

    /// From the counters of the time in which work waited, a minute apart or more; nil before.
    private var isUnderLoad: Bool? {
        let waited = hardware.latestValues(of: "kinglet_machine_pressure_waiting_seconds_total")
        let now = ContinuousClock.now
        return load.withLock { load in
            guard let before = load, before.waited.count == waited.count, !waited.isEmpty else {
                load = Load(waited: waited, at: now)
                return nil
            }
            let time = before.at.duration(to: now)
            guard time >= Self.shortest else { return before.isHigh }
            let seconds = Double(time.components.seconds)
            let isHigh = zip(before.waited, waited).contains { ($1 - $0) / seconds > Self.busy }
            load = Load(waited: waited, at: now, isHigh: isHigh)
            return isHigh
        }
    }
}
