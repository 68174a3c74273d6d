// Temperatures: which sensors there are, and what is none.

import Prometheus
import Testing

@testable import Hardware

@Suite("SoC temperature")
struct SoCTemperatureTests {
    @Test("A zone without a value and a firmware without a device are absent")
    func absent() {
        let tree = piTree()
        tree.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        let result = read(SoCTemperature(), tree)
        #expect(result.samples.isEmpty)
        #expect(result.failure == nil)
    }

    @Test("A broken zone does not hide the firmware's measure")
    func brokenZone() {
        let tree = piTree()
        tree.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        tree.write("sys/class/thermal/thermal_zone0/temp", "warm\n")
        let result = read(
            SoCTemperature(), tree,
            ScriptedMailbox(command: { $0 == .measureTemperature ? "temp=48.3'C" : nil }))
        #expect(
            result.samples == [
                Sample("rpi_temperature_celsius", labels: [("sensor", "soc_firmware")], value: 48.3)
            ])
        #expect(result.failure?.code == .malformed)
    }

    @Test("Frost is a negative number in both forms")
    func frost() {
        let words: [UInt32] = [0, UInt32(bitPattern: -1500)]
        #expect(SoCTemperature.question.parseWords(words) == -1.5)
        #expect(SoCTemperature.question.parseText("temp=-1.5'C") == -1.5)
    }

    @Test(
        "Other text than a finite temperature is not read",
        arguments: ["", "temp=", "temp='C", "temp=nan'C", "temp=48.3", "error=1"])
    func otherText(_ text: String) {
        #expect(SoCTemperature.question.parseText(text) == nil)
    }

    @Test(
        "A temperature that no chip survives is a failure, from the firmware as from the kernel",
        arguments: ["-40001", "150001", "9223372036854775807", "-9223372036854775809"])
    func implausible(_ thousandths: String) {
        let tree = piTree()
        tree.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        tree.write("sys/class/thermal/thermal_zone0/temp", "\(thousandths)\n")
        #expect(read(SoCTemperature(), tree).failure?.code == .malformed)
        #expect(read(SoCTemperature(), tree).samples.isEmpty)
    }

    @Test(
        "The firmware's words are a sensor's number and a temperature that can be",
        arguments: [[], [0], [1, 48_300], [0, 150_001], [0, 0x8000_0000], [0, 48_300, 0]]
            as [[UInt32]])
    func otherWords(_ words: [UInt32]) {
        let result = read(SoCTemperature(), piTree(), ScriptedMailbox(property: { _ in words }))
        #expect(result.samples.isEmpty)
        #expect(result.failure?.code == .malformed)
    }

    @Test("Only a Pi 4 or 5 is asked for its power chip: an older one answers with the SoC's value")
    func powerChip() {
        let mailbox = ScriptedMailbox(command: { command in
            command == .measurePowerChipTemperature ? "temp=50.1'C" : "temp=48.3'C"
        })
        let new = read(SoCTemperature(), piTree(), mailbox).samples
        #expect(new.value("rpi_temperature_celsius", "pmic") == 50.1)
        let old = read(SoCTemperature(), piTree(processor: "brcm,bcm2837"), mailbox).samples
        #expect(old.map { $0.labels.first?.1 } == ["soc_firmware"])
    }

    @Test("The I/O chip of a Pi 5 is found by the name of its driver")
    func ioChip() {
        let tree = piTree(processor: "brcm,bcm2712")
        tree.write("sys/class/hwmon/hwmon7/name", "rp1_adc\n")
        tree.write("sys/class/hwmon/hwmon7/temp1_input", "48211\n")
        tree.write("sys/class/hwmon/hwmon7/in1_input", "1459\n")
        let result = read(SoCTemperature(), tree)
        #expect(result.samples.value("rpi_temperature_celsius", "rp1") == 48.211)
        #expect(result.samples.count == 1)
    }
}
