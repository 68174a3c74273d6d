// One read of one reading, for tests of what it makes of odd files.

import Prometheus

@testable import Hardware

extension ScratchTree {
    /// What the reading sampled, as lines without values' formatting, and why it failed if it did.
    func read(once reading: some Reading) -> (lines: [String], failure: ReadingError?) {
        var samples: [Sample] = []
        var failure: ReadingError?
        do throws(ReadingError) {
            try reading.read(Machine(roots: roots), into: &samples)
        } catch {
            failure = error
        }
        return (samples.map(\.line), failure)
    }
}

extension Sample {
    /// Name, label values and value, without what all families of the machine have in common.
    var line: String {
        let name = name.hasPrefix("kinglet_machine_") ? String(name.dropFirst(16)) : name
        return ([name] + labels.map(\.1) + ["\(value)"]).joined(separator: " ")
    }
}
