// Voltages of every model, and what the power chip of a Pi 5 measures.

import Prometheus
import Testing

@testable import Hardware

@Suite("Voltages")
struct VoltagesTests {
    @Test("Rails by command, those without an answer by property in microvolts")
    func bothWays() {
        let mailbox = ScriptedMailbox(
            command: { $0 == .measureVoltage(.core) ? "volt=0.8563V" : nil },
            property: { $0 == .voltage(.sdramPhysical) ? [3, 1_100_000] : nil })
        let result = read(Voltages(), piTree(), mailbox)
        #expect(result.failure == nil)
        #expect(result.samples.map { $0.labels.first?.1 } == ["core", "sdram_p"])
        #expect(result.samples.map(\.value) == [0.8563, 1.1])
    }

    @Test(
        "Other text than 0 to 20 volts is not read",
        arguments: [
            "", "volt=", "volt=V", "volt=-0.1V", "volt=20.1V", "volt=nanV", "volt=0.85", "V",
        ])
    func otherText(_ text: String) {
        #expect(Voltages.question(.core).parseText(text) == nil)
    }

    @Test(
        "Words of another rail, or of no voltage, are not read",
        arguments: [[], [1], [2, 850_000], [1, 0x8000_0000], [1, 20_000_001]] as [[UInt32]])
    func otherWords(_ words: [UInt32]) {
        #expect(Voltages.question(.core).parseWords(words) == nil)
    }

    private func powerChip(
        _ text: String, processor: String = "brcm,bcm2712"
    ) -> (samples: [Sample], failure: ReadingError?) {
        let mailbox = ScriptedMailbox(command: { $0 == .readPowerChip ? text : nil })
        return read(Voltages(), piTree(processor: processor), mailbox)
    }

    @Test("Rails, supply and battery come from one answer; power is the sum of what has both")
    func rails() {
        let result = powerChip(
            """
             VDD_CORE_A current(7)=2.00000000A
               3V3_SYS_A current(1)=1.00000000A
             VDD_CORE_V volt(15)=0.75000000V
               3V3_SYS_V volt(9)=3.50000000V
                EXT5V_V volt(24)=5.11478000V
                 BATT_V volt(25)=0.01880340V
            """)
        #expect(result.failure == nil)
        #expect(result.samples.value("rpi_power_watts") == 5)
        #expect(result.samples.value("rpi_voltage_volts", "ext5v") == 5.11478)
        #expect(result.samples.value("rpi_voltage_volts", "batt") == nil)
        #expect(result.samples.value("rpi_rtc_battery_volts") == 0.0188034)
        #expect(result.samples.value("rpi_current_amperes", "3v3_sys") == 1)
        #expect(result.samples.count == 7)
    }

    @Test("Only a Pi 5 is asked for its power chip")
    func otherModel() {
        let mailbox = ScriptedMailbox()
        _ = read(Voltages(), piTree(), mailbox)
        #expect(!mailbox.questions.contains("gencmd pmic_read_adc"))
    }

    @Test("Without currents there is no power")
    func noCurrents() {
        #expect(powerChip("EXT5V_V volt(24)=5.1V").samples.map(\.name) == ["rpi_voltage_volts"])
    }

    @Test(
        "One line of another form makes the whole answer malformed: a sum must have all its parts",
        arguments: [
            "", "EXT5V_V", "EXT5V_V volt(24)=", "EXT5V_V volt(24)=5.1A", "EXT5V_V volt(24)=21V",
            "EXT5V_V volt(24)=-1V", "EXT5V_A current(1)=51A", "EXT5V_W watt(1)=1W", "_V volt(1)=1V",
            "ext5v_V volt(1)=1V", "EXT5V_V volt(24)=5V 2", "E\"T_V volt(1)=1V", "CORE_V volt(1)=1V",
            "EXTREMELY_LONG_NAME_V volt(1)=1V", "HDMI_V volt(1)=5V\nHDMI_V volt(2)=5V",
        ])
    func otherLines(_ line: String) {
        let result = powerChip("3V3_SYS_V volt(9)=3.3V\n\(line)")
        #expect(result.samples.isEmpty == !line.isEmpty)
        #expect(result.failure?.code == (line.isEmpty ? nil : .malformed))
    }

    @Test("More rails than the chip can have are malformed")
    func tooMany() {
        let text = (0..<100).map { "R\($0)_V volt(\($0))=1.0V" }.joined(separator: "\n")
        #expect(powerChip(text).failure?.code == .malformed)
        #expect(powerChip("nothing").failure?.code == .malformed)
        #expect(powerChip("").failure?.code == .malformed)
    }
}
