// What the tests of schedules and of retention share.

@testable import Backup

/// Seconds since 1970 of a time in UTC (or of what clocks show).
func at(
    _ year: Int, _ month: Int, _ day: Int, _ hour: Int = 0, _ minute: Int = 0, _ second: Int = 0
) -> Int64 {
    let days = CivilDay(year: year, month: month, day: day).daysSince1970
    return Int64(days) * 86_400 + Int64(hour * 3600 + minute * 60 + second)
}

/// The same random numbers each time (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
