// Real-time clocks of any machine, and the battery of a Pi 5's.

import Prometheus
import Testing

@testable import Hardware

@Suite("Real-time clock")
struct RealTimeClockTests {
    @Test("Any machine's clocks are named; only a Pi's battery is looked at")
    func anyMachine() {
        let tree = ScratchTree()
        tree.write("sys/class/rtc/rtc0/name", "rtc_cmos 00:01\n")
        tree.write("sys/class/rtc/rtc0/charging_voltage", "3000000\n")
        #expect(
            read(RealTimeClock(), tree).samples == [
                Sample(
                    "kinglet_machine_rtc_info",
                    labels: [("device", "rtc0"), ("name", "rtc_cmos 00:01")], value: 1)
            ])
    }

    @Test("The voltages are those of the clock that can charge; switched off is 0")
    func charging() {
        let tree = piTree()
        tree.write("sys/class/rtc/rtc0/name", "rtc-ds1307 1-0068\n")
        tree.write("sys/class/rtc/rtc1/name", "rpi-rtc soc:rpi_rtc\n")
        tree.write("sys/class/rtc/rtc1/charging_voltage", "0\n")
        tree.write("sys/class/rtc/rtc1/charging_voltage_max", "4400000\n")
        let result = read(RealTimeClock(), tree)
        #expect(result.failure == nil)
        #expect(result.samples.value("rpi_rtc_charging_volts") == 0)
        #expect(result.samples.value("rpi_rtc_charging_max_volts") == 4.4)
        #expect(result.samples.value("kinglet_machine_rtc_info", "rtc1") == 1)
        #expect(result.samples.count == 4)
    }

    @Test(
        "A voltage that cannot be is a failure that leaves the clock",
        arguments: ["-1", "20000001", "", "3V"])
    func implausible(_ microvolts: String) {
        let tree = piTree()
        tree.write("sys/class/rtc/rtc0/name", "rpi-rtc soc:rpi_rtc\n")
        tree.write("sys/class/rtc/rtc0/charging_voltage", microvolts)
        let result = read(RealTimeClock(), tree)
        #expect(result.samples.map(\.name) == ["kinglet_machine_rtc_info"])
        #expect(result.failure?.code == .malformed)
    }

    @Test("A machine without a clock has none")
    func absent() {
        #expect(read(RealTimeClock(), piTree()).samples.isEmpty)
        #expect(read(RealTimeClock(), piTree()).failure == nil)
    }
}
