// What a scrape shows on the recorded machines, line by line.

import Glibc
import Prometheus
import Testing

@testable import Hardware

@Suite("Recorded machines")
struct RecordedTreeTests {
    @Test("A recorded machine gives its expected.prom", arguments: RecordedTree.allCases)
    func expectedLines(_ tree: RecordedTree) throws {
        let registry = Registry()
        let monitor = HardwareMonitor(roots: tree.roots, registry: registry)
        monitor.memory.load([])
        monitor.readNow()
        let expected = try #require(contents("\(tree.path)/expected.prom"))
        let lines = expected.split(separator: "\n").map(String.init)
        let difference = registry.lines.difference(from: lines).map { change in
            switch change {
            case .insert(_, let line, _): "+ \(line)"
            case .remove(_, let line, _): "- \(line)"
            }
        }
        #expect(difference.isEmpty, "\(difference.joined(separator: "\n"))")
    }

    @Test("A machine that is no Raspberry Pi shows no rpi_ line, and nothing fails")
    func pcIsNoPi() {
        let registry = Registry()
        let monitor = HardwareMonitor(roots: RecordedTree.pc.roots, registry: registry)
        monitor.memory.load([])
        monitor.readNow()
        #expect(registry.samples("rpi_").isEmpty)
        #expect(monitor.failures.isEmpty)
    }

    @Test("The serial number is never shown", arguments: RecordedTree.allCases)
    func noSerialNumber(_ tree: RecordedTree) throws {
        let registry = Registry()
        HardwareMonitor(roots: tree.roots, registry: registry).readNow()
        let shown = String(decoding: registry.render(.text004), as: UTF8.self)
        guard let serial = contents("\(tree.path)/proc/device-tree/serial-number") else {
            #expect(tree == .pc)
            return
        }
        let digits = serial.filter(\.isHexDigit)
        #expect(digits.count == 16)
        #expect(!shown.contains(digits))
    }

    @Test("A new content of the recording is seen by the next read")
    func recordingCanChange() {
        let tree = ScratchTree()
        tree.write("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
        tree.write("mailbox", "gencmd get_throttled -> throttled=0x0\n")
        let registry = Registry()
        let monitor = HardwareMonitor(roots: tree.roots, registry: registry)
        monitor.readNow()
        #expect(registry.samples("rpi_throttled_active") == ["rpi_throttled_active 0"])
        tree.write("mailbox", "gencmd get_throttled -> throttled=0x4\n")
        monitor.readNow()
        #expect(registry.samples("rpi_throttled_active") == ["rpi_throttled_active 1"])
    }

    private func contents(_ path: String) -> String? {
        guard let stream = fopen(path, "r") else { return nil }
        defer { fclose(stream) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&buffer, 1, buffer.count, stream)
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
