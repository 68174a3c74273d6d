// What the machine runs.

import Testing

@testable import Hardware

@Suite("Operating system")
struct OperatingSystemTests {
    private let tree = ScratchTree()

    @Test("Quotes and escapes of os-release are taken away; VERSION_ID is not ID")
    func quotes() {
        let text =
            "VERSION_ID=\"13\"\nID='debian'\nID_LIKE=other\nNAME=\"a \\\"b\\\"\"\nEMPTY=\nONE=\"\n"
        #expect(OperatingSystem.value(of: "ID", in: text) == "debian")
        #expect(OperatingSystem.value(of: "VERSION_ID", in: text) == "13")
        #expect(OperatingSystem.value(of: "NAME", in: text) == "a \"b\"")
        #expect(OperatingSystem.value(of: "EMPTY", in: text) == "")
        #expect(OperatingSystem.value(of: "ONE", in: text) == "\"")
        #expect(OperatingSystem.value(of: "ABSENT", in: text) == nil)
    }

    @Test("What is not told is left out, such as the version of a rolling release")
    func partial() {
        #expect(tree.read(once: OperatingSystem()).lines.isEmpty)
        tree.write("etc/os-release", "ID=arch\nVERSION_ID=\n")
        tree.write("proc/sys/kernel/osrelease", "5.15.84-v8+\n")
        let result = tree.read(once: OperatingSystem())
        #expect(result.lines == ["info arch 5.15.84-v8+ 1.0"])
        #expect(result.failure == nil)
    }

    @Test("A file that cannot be read is a failure beside the rest, and garbage stays short")
    func broken() {
        tree.write("etc/os-release/file", "")
        tree.write(
            "proc/sys/kernel/osrelease", "6\u{7}\u{e9}" + String(repeating: "1", count: 9000))
        let result = tree.read(once: OperatingSystem())
        #expect(result.lines == ["info 6??" + String(repeating: "1", count: 77) + " 1.0"])
        #expect(result.failure?.code == .inputOutput)
    }
}
