// The list of all readings. A new reading is one file and one line here.

/// Every reading that the program knows; which of them apply is found out on the machine. Made anew
/// for each monitor, since some remember what they read last.
func allReadings(_ settings: HardwareSettings = HardwareSettings()) -> [any Reading] {
    [
        BoardModel(),
        SoCTemperature(),
        Throttling(),
        CPUFrequency(),
        OperatingSystem(),
        Processor(),
        Memory(),
        CompressedSwap(),
        Pressure(),
        Network(),
        ClockSynchronisation(),
        Watchdog(),
        Filesystems(),
        Ext4Errors(),
        Disks(),
        StorageIdentity(),
        SMARTReports(),
        KernelLog(),
        PowerSupplies(),
        UPS(settings),
        SystemdUnits(settings),
    ]
}
/// Every reading that the program knows; which of them apply is found out on the machine.
let allReadings: [any Reading] = [
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
]
