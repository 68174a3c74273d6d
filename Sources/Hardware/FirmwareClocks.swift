// Frequencies that the firmware measures, which are the truth where the kernel only knows what it
// asked for: a firmware that caps or throttles does so without telling cpufreq.

import Prometheus

/// `rpi_clock_frequency_hertz`. A clock that is switched off has 0.
struct FirmwareClocks: Reading {
    static let name = "clocks"
    static let families = [
        FamilyDescription(
            name: "rpi_clock_frequency_hertz", kind: .gauge,
            help: "Frequency of a clock as the firmware measures it; 0 is off.")
    ]
    let period = Duration.seconds(15)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        for clock in FirmwareClock.allCases {
            parts.attempt { () throws(ReadingError) in
                guard let value = try machine.mailbox.answer(to: Self.question(clock)) else {
                    return
                }
                samples.append(
                    Sample(
                        "rpi_clock_frequency_hertz", labels: [("clock", clock.rawValue)],
                        value: value))
            }
        }
        try parts.finish()
    }

    static func question(_ clock: FirmwareClock) -> FirmwareQuestion<Double> {
        FirmwareQuestion(
            command: .measureClock(clock),
            // The number in brackets is the firmware's internal one and differs between models.
            parseText: { text in
                guard text.hasPrefix("frequency("), let end = text.firstRange(of: ")=") else {
                    return nil
                }
                return Plausible.number(
                    text[end.upperBound...], after: "", before: "", in: Plausible.hertz)
            },
            parseWords: { words in
                guard words.count == 2, words[0] == clock.identifier else { return nil }
                return Double(words[1])
            })
    }
}
