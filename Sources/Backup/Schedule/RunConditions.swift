// What a run yields to.

/// How the machine is just now; nil for what is not known, which hinders nothing but for the clock.
struct RunConditions: Sendable, Equatable {
    /// Whether the clock is set by a time server or a clock of the machine's own. False only where
    /// something is there that will set it: a machine without such a thing has nil.
    var clockIsRight: Bool?
    /// Whether an uninterruptible power supply lives on its battery.
    var isOnBattery: Bool?
    /// Whether the processor is slowed down for heat or low voltage.
    var isThrottled: Bool?
    /// Of the processor, in °C.
    var temperature: Double?
    /// Whether others wait for processor, memory or disk.
    var isUnderLoad: Bool?
}

/// Why a run that is due does not begin.
enum RunBlocker: Sendable, Equatable {
    case clock, implausibleClock, grace, window, battery, throttled, heat, load

    /// One sentence for `status`.
    var sentence: String {
        switch self {
        case .clock: "waits until the clock is set"
        case .implausibleClock:
            "waits because the clock is behind what was stored last; set the clock"
        case .grace: "waits a few minutes after the start of the server"
        case .window: "waits for the hours in which it may run"
        case .battery: "waits for the power to come back: the machine runs on its battery"
        case .throttled: "waits because the processor is slowed down"
        case .heat: "waits for the processor to cool down"
        case .load: "waits because the machine is busy"
        }
    }
}
