// The list of all readings. A new reading is one file and one line here.

/// Every reading that the program knows; which of them apply is found out on the machine.
let allReadings: [any Reading] = [
    BoardModel(),
    SoCTemperature(),
    Throttling(),
    CPUFrequency(),
]
