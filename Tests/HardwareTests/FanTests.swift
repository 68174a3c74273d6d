// The fan and the kernel's cooling devices.

import Glibc
import Prometheus
import Testing

@testable import Hardware

@Suite("Fan")
struct FanTests {
    private let tree = piTree()

    @Test("Speed and duty are the fan driver's, wherever the kernel put it")
    func speed() {
        tree.write("sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
        tree.write("sys/class/hwmon/hwmon5/name", "pwmfan\n")
        tree.write("sys/class/hwmon/hwmon5/fan1_input", "2873\n")
        tree.write("sys/class/hwmon/hwmon5/pwm1", "51\n")
        let result = read(Fan(), tree)
        #expect(result.failure == nil)
        #expect(
            result.samples == [
                Sample("rpi_fan_speed_rpm", value: 2873), Sample("rpi_fan_duty_ratio", value: 0.2),
            ])
    }

    @Test("A fan that stands still is no failure; one without tachometer has no speed")
    func standsStill() {
        tree.write("sys/class/hwmon/hwmon0/name", "pwmfan\n")
        tree.write("sys/class/hwmon/hwmon0/pwm1", "0\n")
        #expect(read(Fan(), tree).samples == [Sample("rpi_fan_duty_ratio", value: 0)])
        tree.write("sys/class/hwmon/hwmon0/fan1_input", "0\n")
        #expect(read(Fan(), tree).samples.value("rpi_fan_speed_rpm") == 0)
        #expect(read(Fan(), tree).failure == nil)
    }

    @Test(
        "A speed or duty that cannot be is a failure that leaves the other value",
        arguments: ["-1", "100001", "fast", "", "99999999999999999999"])
    func implausible(_ speed: String) {
        tree.write("sys/class/hwmon/hwmon0/name", "pwmfan\n")
        tree.write("sys/class/hwmon/hwmon0/fan1_input", speed)
        tree.write("sys/class/hwmon/hwmon0/pwm1", "255\n")
        let result = read(Fan(), tree)
        #expect(result.samples == [Sample("rpi_fan_duty_ratio", value: 1)])
        #expect(result.failure?.code == .malformed)
        tree.write("sys/class/hwmon/hwmon0/pwm1", "256\n")
        #expect(read(Fan(), tree).samples.isEmpty)
    }

    @Test("Cooling devices are in the order of their numbers, with the kernel's name for them")
    func coolingDevices() {
        for (number, type) in [("10", "cpufreq-cpu0"), ("2", "pwm-fan")] {
            tree.write("sys/class/thermal/cooling_device\(number)/type", type + "\n")
            tree.write("sys/class/thermal/cooling_device\(number)/cur_state", "1\n")
            tree.write("sys/class/thermal/cooling_device\(number)/max_state", "4\n")
        }
        let labels = [
            [("device", "2"), ("type", "pwm-fan")], [("device", "10"), ("type", "cpufreq-cpu0")],
        ]
        #expect(
            read(Fan(), tree).samples
                == labels.map { Sample("rpi_cooling_state", labels: $0, value: 1) }
                + labels.map { Sample("rpi_cooling_max_state", labels: $0, value: 4) })
    }

    @Test("No more than 16 cooling devices are shown")
    func limit() {
        for number in 0..<40 {
            tree.write("sys/class/thermal/cooling_device\(number)/type", "fan\n")
            tree.write("sys/class/thermal/cooling_device\(number)/cur_state", "1\n")
        }
        #expect(read(Fan(), tree).samples.count == 16)
    }

    @Test("A fan that vanishes takes its values with it, and is no failure")
    func vanishes() {
        tree.write("sys/class/hwmon/hwmon0/name", "pwmfan\n")
        tree.write("sys/class/hwmon/hwmon0/fan1_input", "2873\n")
        tree.write("sys/class/hwmon/hwmon0/pwm1", "51\n")
        #expect(read(Fan(), tree).samples.count == 2)
        for file in ["fan1_input", "name"] {
            remove("\(tree.path)/sys/class/hwmon/hwmon0/\(file)")
            let result = read(Fan(), tree)
            #expect(result.samples.map(\.name) == (file == "name" ? [] : ["rpi_fan_duty_ratio"]))
            #expect(result.failure == nil)
        }
    }

    @Test("Without a fan everything is absent")
    func absent() {
        #expect(read(Fan(), tree).samples.isEmpty)
        #expect(read(Fan(), tree).failure == nil)
    }
}
