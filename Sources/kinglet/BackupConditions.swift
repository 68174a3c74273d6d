// What backups yield to, from the readings of the machine.

internal import Backup
internal import Hardware

extension HardwareMonitor {
    /// How the machine is now.
    var backupConditions: BackupConditions {
        func any(_ names: [String]) -> Bool? {
            let values = names.flatMap { latestValues(of: $0) }
            return values.isEmpty ? nil : values.contains { $0 > 0 }
        }
        var conditions = BackupConditions()
        conditions.clockIsRight = any(["kinglet_machine_clock_synchronised"])
        conditions.isOnBattery = any(["kinglet_machine_ups_on_battery"])
        conditions.isThrottled = any(["rpi_throttled_active", "rpi_undervoltage_active"])
        conditions.temperature = latestValues(of: "rpi_temperature_celsius").max()
        return conditions
    }
}
