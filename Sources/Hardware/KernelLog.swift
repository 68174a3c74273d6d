// The kernel's own reports of trouble, counted from its log (`/dev/kmsg`).
//
// Only what the kernel itself wrote counts: any program of root can write into the log, but not
// under the kernel's name. What was counted is remembered with its place in this boot's log, so
// that a restart counts nothing twice and the first start counts what the boot has left there.

import Prometheus

/// `kinglet_machine_kernel_events_total`.
struct KernelLog: Reading {
    static let name = "kernel_log"
    static let remembers = true
    static let families = [
        FamilyDescription(
            name: "kinglet_machine_kernel_events_total", kind: .counter,
            help: "Messages of the kernel about trouble, over all boots.")
    ]
    let period = Duration.seconds(10)

    /// Under this key the memory holds where in this boot's log the reading is.
    static let positionKey = "kmsg"
    private let source = KernelLogSource()

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard let position = machine.memory.position(Self.positionKey),
            let harvest = try source.harvest("\(machine.roots.dev)/kmsg", from: position)
        else { return }
        // Before the counts: a crash between the two may lose an event, and doubles none.
        // Without an event it stays where it was, which spares the disk: what is looked through
        // again after a restart has nothing that counts.
        if let end = harvest.end { machine.memory.setPosition(Self.positionKey, end) }
        for event in KernelEvent.allCases {
            let total = machine.memory.add(
                harvest.counts[event] ?? 0, to: "kernel \(event.rawValue)")
            guard let total else { continue }
            samples.append(
                Sample(
                    Self.families[0].name, labels: [("event", event.rawValue)],
                    value: Double(total)))
        }
        if let failure = harvest.failure { throw failure }
    }
}
