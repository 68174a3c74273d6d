// Which system runs: distribution and version from os-release(5), the kernel's release, and the
// architecture of the kernel, which on a Pi may be wider than that of the programs. Kernels before
// 6.1 do not tell the last one.

import Prometheus

/// `kinglet_machine_info`.
struct OperatingSystem: Reading {
    static let name = "system"
    static let families = [
        FamilyDescription(
            name: "kinglet_machine_info", kind: .info,
            help: "Operating system, kernel and architecture.")
    ]
    /// An upgrade replaces os-release while the server runs.
    let period = Duration.seconds(600)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        var parts = IndependentParts()
        var labels: [(String, String)] = []
        func add(_ label: String, _ value: String?) {
            guard let value, !value.isEmpty else { return }
            labels.append((label, value.printable(80)))
        }
        parts.attempt { () throws(ReadingError) in
            guard let text = try SystemFile.text("\(machine.roots.etc)/os-release") else { return }
            add("os", Self.value(of: "ID", in: text))
            add("os_version", Self.value(of: "VERSION_ID", in: text))
        }
        let kernel = "\(machine.roots.proc)/sys/kernel"
        parts.attempt { () throws(ReadingError) in
            add("kernel", try SystemFile.text("\(kernel)/osrelease"))
        }
        parts.attempt { () throws(ReadingError) in
            add("architecture", try SystemFile.text("\(kernel)/arch"))
        }
        if !labels.isEmpty {
            samples.append(Sample("kinglet_machine_info", labels: labels, value: 1))
        }
        try parts.finish()
    }

    /// A variable of os-release(5): the last assignment counts, as in a shell.
    static func value(of variable: String, in text: String) -> String? {
        let line = text.split(separator: "\n").last { $0.hasPrefix("\(variable)=") }
        guard var value = line?.dropFirst(variable.count + 1) else { return nil }
        for quote: Character in ["\"", "'"]
        where value.count >= 2 && value.first == quote && value.last == quote {
            value = value.dropFirst().dropLast()
        }
        return String(value.filter { $0 != "\\" })
    }
}
