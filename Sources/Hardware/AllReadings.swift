// The list of all readings. A new reading is one file and one line here.

/// Every reading that the program knows; which of them apply is found out on the machine. Made anew
/// for each monitor, since some remember what they read last.
func allReadings(_ settings: HardwareSettings = HardwareSettings()) -> [any Reading] {
    [
        // A Raspberry Pi's own.
        BoardModel(),
        SoCTemperature(),
        TripPoints(),
        Throttling(),
        Voltages(),
        FirmwareClocks(),
        CPUFrequency(),
        Fan(),
        RealTimeClock(),
        PowerNegotiation(),
        FirmwareVersions(),
        // Any machine's.
        OperatingSystem(),
        Processor(),
        Memory(),
        CompressedSwap(),
        Pressure(),
        Filesystems(),
        Ext4Errors(),
        Disks(),
        StorageIdentity(),
        SMARTReports(),
        Network(),
        ClockSynchronisation(),
        KernelLog(),
        Watchdog(),
        PowerSupplies(),
        UPS(settings),
        SystemdUnits(settings),
    ]
}
