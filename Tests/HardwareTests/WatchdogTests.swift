// The attributes of hardware watchdogs.

import Testing

@testable import Hardware

@Suite("Watchdog")
struct WatchdogTests {
    private let tree = ScratchTree()

    private func write(_ attributes: [String: String], device: Int = 0) {
        for (file, content) in attributes {
            tree.write("sys/class/watchdog/watchdog\(device)/\(file)", content)
        }
    }

    @Test("A driver with all attributes; bit 5 of bootstatus is a restart by the watchdog")
    func complete() {
        write([
            "identity": "Broadcom BCM2835 Watchdog timer\n", "state": "active\n", "timeout": "60\n",
            "timeleft": "14\n", "nowayout": "1\n", "bootstatus": "33\n",
        ])
        let result = tree.read(once: Watchdog())
        #expect(
            result.lines == [
                "watchdog_info watchdog0 Broadcom BCM2835 Watchdog timer 1.0",
                "watchdog_active watchdog0 1.0", "watchdog_timeout_seconds watchdog0 60.0",
                "watchdog_timeleft_seconds watchdog0 14.0", "watchdog_nowayout watchdog0 1.0",
                "watchdog_caused_reset watchdog0 1.0",
            ])
        #expect(result.failure == nil)
    }

    @Test("Bits besides the watchdog's own, such as overheating, are no restart by it")
    func otherReset() {
        write(["bootstatus": "1\n"])
        #expect(tree.read(once: Watchdog()).lines == ["watchdog_caused_reset watchdog0 0.0"])
    }

    @Test("A driver without an attribute, a kernel without any, a machine without a watchdog")
    func absent() {
        #expect(tree.read(once: Watchdog()).lines.isEmpty)
        write(["dev": "10:130\n"])
        #expect(tree.read(once: Watchdog()).lines.isEmpty)
        write(["state": "inactive\n"], device: 1)
        tree.write("sys/class/watchdog/watchdog/state", "active\n")
        let result = tree.read(once: Watchdog())
        #expect(result.lines == ["watchdog_active watchdog1 0.0"])
        #expect(result.failure == nil)
    }

    @Test("At most 8 devices are shown, by their numbers")
    func limit() {
        for device in 0..<12 { write(["timeout": "\(device)\n"], device: device) }
        let lines = tree.read(once: Watchdog()).lines
        #expect(lines == (0..<8).map { "watchdog_timeout_seconds watchdog\($0) \($0).0" })
    }

    @Test(
        "An attribute of another form is a failure that leaves the others",
        arguments: [
            ("state", "asleep"), ("timeout", "-1"), ("timeleft", "soon"), ("nowayout", "2"),
            ("bootstatus", "4294967296"), ("timeleft", "99999999999999999999"), ("timeout", ""),
        ])
    func broken(_ file: String, _ content: String) {
        write([
            "state": "active", "timeout": "60", "timeleft": "14", "nowayout": "0",
            "bootstatus": "0",
        ])
        write([file: content])
        write(["nowayout": "1"], device: 1)
        let result = tree.read(once: Watchdog())
        #expect(result.lines.count == 5)
        #expect(result.lines.last == "watchdog_nowayout watchdog1 1.0")
        #expect(result.failure?.code == .malformed)
    }

    @Test("An identity is printable and short")
    func identity() {
        write(["identity": "\u{1}\u{e9}" + String(repeating: "w", count: 500)])
        let line = "watchdog_info watchdog0 ??" + String(repeating: "w", count: 78) + " 1.0"
        #expect(tree.read(once: Watchdog()).lines == [line])
    }
}
