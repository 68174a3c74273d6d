// The two mailboxes: recorded answers and device nodes.

import Glibc
import Testing

@testable import Hardware

@Suite("Recorded mailbox")
struct RecordedMailboxTests {
    private let tree = ScratchTree()

    private func mailbox(_ content: String) -> RecordedMailbox {
        tree.write("mailbox", content)
        return RecordedMailbox(path: "\(tree.path)/mailbox")
    }

    @Test("Answers stand on the line of their question")
    func answers() throws {
        let mailbox = mailbox(
            """
            # a comment
            tag 0x00030006 0x0 0xb879

            gencmd get_throttled -> throttled=0x0
            """)
        #expect(try mailbox.answer(to: .temperature) == [0, 0xB879])
        #expect(try mailbox.answer(to: .getThrottled) == "throttled=0x0")
    }

    @Test("A question without a line has no device")
    func noLine() throws {
        let mailbox = mailbox("# nothing\n")
        #expect(try mailbox.answer(to: .throttled) == nil)
        #expect(try mailbox.answer(to: .measureTemperature) == nil)
    }

    @Test("An answer of several lines is joined, and names of commands are not mixed up")
    func severalLines() throws {
        let mailbox = mailbox(
            """
            gencmd measure_temp pmic -> temp=50.1'C
            gencmd version -> Aug 30 2024 19:17:39
            gencmd measure_temp -> temp=48.3'C
            gencmd version -> version 2808975b
            """)
        #expect(
            try mailbox.answer(to: .firmwareVersion) == "Aug 30 2024 19:17:39\nversion 2808975b")
        #expect(try mailbox.answer(to: .measureTemperature) == "temp=48.3'C")
        #expect(try mailbox.answer(to: .measurePowerChipTemperature) == "temp=50.1'C")
    }

    @Test("Of several clocks the one with the number asked for answers")
    func severalClocks() throws {
        let mailbox = mailbox("tag 0x00030047 0x3 0x1\ntag 0x00030047 0x4 0x2\n")
        #expect(try mailbox.answer(to: .clockFrequency(.arm)) == [3, 1])
        #expect(try mailbox.answer(to: .clockFrequency(.core)) == [4, 2])
        #expect(try mailbox.answer(to: .clockFrequency(.emmc)) == nil)
        #expect(try mailbox.answer(to: .voltage(.core)) == nil)
    }

    @Test("A recorded errno is thrown")
    func recordedFailure() throws {
        let mailbox = mailbox("tag 0x00030046 errno 13\ngencmd measure_temp errno 110\n")
        let denied = #expect(throws: ReadingError.self) { try mailbox.answer(to: .throttled) }
        #expect(denied?.code == .permission)
        let late = #expect(throws: ReadingError.self) {
            try mailbox.answer(to: .measureTemperature)
        }
        #expect(late?.code == .timeout)
    }

    @Test(
        "A line of another form is an error, not an absence",
        arguments: [
            "tag 0x00030046", "tag 0x00030046 50005", "tag 0x00030046 0x1ffffffff",
            "tag 0x00030046 0x-1", "throttled=0x0",
        ])
    func badLine(_ line: String) {
        let mailbox = mailbox(line + "\n")
        let error = #expect(throws: ReadingError.self) { try mailbox.answer(to: .throttled) }
        #expect(error?.code == .malformed)
    }
}

@Suite("Device mailbox")
struct DeviceMailboxTests {
    @Test("Without device nodes there is no answer and no error")
    func noNodes() throws {
        let tree = ScratchTree()
        let mailbox = DeviceMailbox(dev: tree.roots.dev)
        #expect(try mailbox.answer(to: .throttled) == nil)
        #expect(try mailbox.answer(to: .getThrottled) == nil)
    }

    @Test("A node that is not the firmware's is an error that names it")
    func wrongNode() {
        let tree = ScratchTree()
        tree.write("dev/vcio", "")
        let mailbox = DeviceMailbox(dev: tree.roots.dev)
        let error = #expect(throws: ReadingError.self) { try mailbox.answer(to: .throttled) }
        #expect(error?.code == .inputOutput)
        #expect(error?.subject == "\(tree.path)/dev/vcio")
    }

    @Test("A missing permission names the group that has it")
    func permission() {
        let error = ReadingError(systemError: EACCES, subject: "/dev/vcio")
        #expect(error.code == .permission)
        #expect(error.advice.contains("video"))
    }
}

@Suite("Choice of the mailbox")
struct MailboxChoiceTests {
    @Test("A recorded tree with a recording uses it; one without uses its device nodes")
    func choice() {
        let recorded = Machine(roots: RecordedTree.pi4Healthy.roots)
        #expect(recorded.mailbox is RecordedMailbox)
        let tree = ScratchTree()
        #expect(Machine(roots: tree.roots).mailbox is DeviceMailbox)
    }

    @Test("The machine itself never uses a recording", arguments: ["", "/", "//"])
    func realRoots(_ root: String) {
        let roots = HardwareRoots(root: root)
        #expect(roots == HardwareRoots())
        #expect(roots.mailboxRecording == nil)
        #expect(Machine(roots: roots).mailbox is DeviceMailbox)
    }

    @Test("A root goes before all three directories, with or without a slash at its end")
    func prefixed() {
        let roots = HardwareRoots(root: "/host/")
        #expect([roots.sys, roots.proc, roots.dev] == ["/host/sys", "/host/proc", "/host/dev"])
        #expect(roots == HardwareRoots(root: "/host"))
    }
}
