// Sensors that the kernel shows below /sys/class/hwmon. Their numbers change from boot to boot, so
// they are found by the name of their driver.

extension HardwareRoots {
    /// The directory of the first sensor device of one of these drivers; nil without one.
    func hwmon(_ drivers: Set<String>) throws(ReadingError) -> String? {
        let directory = "\(sys)/class/hwmon"
        for device in try SystemFile.entries(directory, prefix: "hwmon") {
            let device = "\(directory)/\(device)"
            if let name = try SystemFile.text("\(device)/name"), drivers.contains(name) {
                return device
            }
        }
        return nil
    }

    /// The directory of the SoC's thermal zone; nil without one.
    func socThermalZone() throws(ReadingError) -> String? {
        let directory = "\(sys)/class/thermal"
        for zone in try SystemFile.entries(directory, prefix: "thermal_zone")
        where try SystemFile.text("\(directory)/\(zone)/type") == "cpu-thermal" {
            return "\(directory)/\(zone)"
        }
        return nil
    }
}
