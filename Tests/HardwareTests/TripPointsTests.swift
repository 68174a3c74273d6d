// Trip points of the thermal zone, and the firmware's limit.

import Prometheus
import Testing

@testable import Hardware

@Suite("Trip points")
struct TripPointsTests {
    private let tree = piTree()

    private func zone(_ trips: [(type: String, value: String)]) {
        tree.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        for (number, trip) in trips.enumerated() {
            let path = "sys/class/thermal/thermal_zone0/trip_point_\(number)"
            tree.write("\(path)_type", trip.type + "\n")
            tree.write("\(path)_temp", trip.value + "\n")
        }
    }

    @Test("Points are in the order of their numbers; one that is switched off is absent")
    func order() {
        zone([("critical", "110000"), ("active", "-274000"), ("passive", "85000")])
        let result = read(TripPoints(), tree)
        #expect(result.failure == nil)
        #expect(
            result.samples == [
                Sample(
                    "rpi_temperature_trip_celsius", labels: [("trip", "0"), ("type", "critical")],
                    value: 110),
                Sample(
                    "rpi_temperature_trip_celsius", labels: [("trip", "2"), ("type", "passive")],
                    value: 85),
            ])
    }

    @Test("A type that the kernel does not have, or a temperature that cannot be, is a failure")
    func garbage() {
        for trip in [("melting", "90000"), ("critical", "999999"), ("critical", "hot")] {
            zone([trip])
            let result = read(TripPoints(), tree)
            #expect(result.samples.isEmpty)
            #expect(result.failure?.code == .malformed, "\(trip)")
        }
    }

    @Test("No more than 16 points are looked at")
    func limit() {
        zone(Array(repeating: ("active", "50000"), count: 40))
        #expect(read(TripPoints(), tree).samples.count == 16)
    }

    @Test("The firmware's limit stands beside a broken zone")
    func firmwareLimit() {
        zone([("critical", "hot")])
        let mailbox = ScriptedMailbox(property: { $0 == .maximumTemperature ? [0, 85_000] : nil })
        let result = read(TripPoints(), tree, mailbox)
        #expect(result.samples == [Sample("rpi_temperature_max_celsius", value: 85)])
        #expect(result.failure?.code == .malformed)
        #expect(mailbox.questions == ["tag maximum temperature"])
    }

    @Test(
        "A limit that cannot be is a failure",
        arguments: [[0], [1, 85_000], [0, 0xFFFF_0000]] as [[UInt32]])
    func badLimit(_ words: [UInt32]) {
        let result = read(TripPoints(), tree, ScriptedMailbox(property: { _ in words }))
        #expect(result.samples.isEmpty)
        #expect(result.failure?.code == .malformed)
    }
}
