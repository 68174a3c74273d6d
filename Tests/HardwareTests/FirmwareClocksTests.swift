// Clocks by command and by property tag.

import Prometheus
import Testing

@testable import Hardware

@Suite("Firmware clocks")
struct FirmwareClocksTests {
    @Test("Each clock is asked once when its command answers")
    func byCommand() {
        let mailbox = ScriptedMailbox(command: { command in
            command == .measureClock(.isp) ? "frequency(45)=0" : "frequency(48)=600117184"
        })
        let result = read(FirmwareClocks(), piTree(), mailbox)
        #expect(result.samples.value("rpi_clock_frequency_hertz", "arm") == 600_117_184)
        #expect(result.samples.value("rpi_clock_frequency_hertz", "isp") == 0)
        #expect(result.samples.map { $0.labels.first?.1 } == ["arm", "core", "v3d", "isp", "emmc"])
        #expect(mailbox.questions.count == 5)
    }

    @Test("A property's answer must be of the clock that was asked for")
    func byProperty() {
        let mailbox = ScriptedMailbox(property: { _ in [3, 1_500_000_000] })
        let result = read(FirmwareClocks(), piTree(), mailbox)
        #expect(result.samples.map { $0.labels.first?.1 } == ["arm"])
        #expect(result.samples.map(\.value) == [1_500_000_000])
        #expect(result.failure?.code == .malformed)
    }

    @Test(
        "Other text than a frequency up to 10 GHz is not read",
        arguments: [
            "", "frequency", "frequency(48)", "frequency(48)=", "frequency(48)=-1",
            "frequency(48)=10000000001", "frequency(48)=1e9", "frequency(48)=0x10", "600117184",
            "frequency(48)=nan", "frequency(48)=600117184Hz",
        ])
    func otherText(_ text: String) {
        #expect(FirmwareClocks.question(.arm).parseText(text) == nil)
    }

    @Test("Without a mailbox the clocks are absent")
    func absent() {
        let result = read(FirmwareClocks(), piTree())
        #expect(result.samples.isEmpty)
        #expect(result.failure == nil)
    }
}
