// Recorded trees, a scripted mailbox and a scratch tree for the tests of this target.

import Glibc
import Prometheus
import Synchronization

@testable import Hardware

/// The recorded trees below Tests/Fixtures/hardware.
enum RecordedTree: String, CaseIterable {
    case pi4Healthy = "pi4-healthy"
    case pi4Throttled = "pi4-throttled"
    case pi4ThrottledPast = "pi4-throttled-past"
    case pi4Undervoltage = "pi4-undervoltage"
    case pi4UndervoltagePast = "pi4-undervoltage-past"
    case pi5
    case cm4
    case pc

    var path: String {
        let folders = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/\(folders)/Fixtures/hardware/\(rawValue)"
    }

    var roots: HardwareRoots { HardwareRoots(root: path) }
}

/// A mailbox that counts its questions and answers from closures; nil stands for "no device".
final class ScriptedMailbox: FirmwareMailbox {
    typealias OnCommand = @Sendable (FirmwareCommand) throws(ReadingError) -> String?
    typealias OnProperty = @Sendable (PropertyTag) throws(ReadingError) -> [UInt32]?

    private let asked = Mutex<[String]>([])
    /// What was asked so far, in order.
    var questions: [String] { asked.withLock { $0 } }
    private let onCommand: OnCommand
    private let onProperty: OnProperty

    init(
        command: @escaping OnCommand = { _ in nil }, property: @escaping OnProperty = { _ in nil }
    ) {
        onCommand = command
        onProperty = property
    }

    func answer(to command: FirmwareCommand) throws(ReadingError) -> String? {
        asked.withLock { $0.append("gencmd \(command.text)") }
        return try onCommand(command)
    }

    func answer(to property: PropertyTag) throws(ReadingError) -> [UInt32]? {
        asked.withLock { $0.append("tag \(property)") }
        return try onProperty(property)
    }
}

/// A scratch tree that passes for a Raspberry Pi.
func piTree(processor: String = "brcm,bcm2711") -> ScratchTree {
    let tree = ScratchTree()
    tree.write("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    tree.write("proc/device-tree/compatible", "raspberrypi,4-model-b\0\(processor)\0")
    return tree
}

/// What a reading sampled, and why it failed if it did.
func read(
    _ reading: some Reading, _ tree: ScratchTree, _ mailbox: any FirmwareMailbox = ScriptedMailbox()
) -> (samples: [Sample], failure: ReadingError?) {
    read(reading, Machine(roots: tree.roots, mailbox: mailbox))
}

func read(
    _ reading: some Reading, _ machine: Machine
) -> (samples: [Sample], failure: ReadingError?) {
    var samples: [Sample] = []
    do throws(ReadingError) {
        try reading.read(machine, into: &samples)
        return (samples, nil)
    } catch {
        return (samples, error)
    }
}

extension [Sample] {
    /// The value of the one series of this name and, if given, with this label value.
    func value(_ name: String, _ label: String? = nil) -> Double? {
        let found = filter { sample in
            sample.name == name
                && (label == nil || sample.labels.contains { $0.1 == label })
        }
        return found.count == 1 ? found.first?.value : nil
    }
}

/// A tree of files that is removed with its last reference.
final class ScratchTree {
    let path: String

    init() {
        var template = Array("/tmp/kinglet-hardware-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? ""
    }

    deinit { Self.remove(path) }

    var roots: HardwareRoots { HardwareRoots(root: path) }

    /// Writes a file and the folders above it.
    func write(_ file: String, _ content: String) {
        var folder = path
        for part in file.split(separator: "/").dropLast() {
            folder += "/\(part)"
            mkdir(folder, 0o755)
        }
        let stream = fopen("\(path)/\(file)", "w")
        fwrite(content, 1, content.utf8.count, stream)
        if let stream { fclose(stream) }
    }

    private static func remove(_ path: String) {
        guard path.hasPrefix("/tmp/kinglet-hardware-") else { return }
        if let stream = opendir(path) {
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { remove("\(path)/\(name)") }
            }
            closedir(stream)
        }
        Glibc.remove(path)
    }
}

extension Registry {
    /// The exposition as lines, without the durations, which differ from run to run.
    var lines: [String] {
        String(decoding: render(.text004), as: UTF8.self)
            .split(separator: "\n").map(String.init)
            .filter { !$0.hasPrefix("kinglet_hardware_reading_duration_seconds{") }
    }

    /// The sample lines of the families that start with `prefix`.
    func samples(_ prefix: String) -> [String] { lines.filter { $0.hasPrefix(prefix) } }
}

extension ScratchTree {
    /// What a reading samples of this tree, and why it failed if it did.
    func read(
        _ reading: some Reading, _ machine: Machine? = nil
    ) -> (samples: [Sample], failure: ReadingError?) {
        var samples: [Sample] = []
        do throws(ReadingError) {
            let machine = machine ?? Machine(roots: roots, mailbox: ScriptedMailbox())
            try reading.read(machine, into: &samples)
            return (samples, nil)
        } catch {
            return (samples, error)
        }
    }
}
