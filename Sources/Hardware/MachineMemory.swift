// What the readings remember: totals that outlive a boot, and where in this boot they are.
//
// THREADS: any; the lock is held for moments only.

import Synchronization

/// Counters that survive restarts and boots.
///
/// A kernel counter starts again with each boot, and a server may be restarted within one. So each
/// total is kept with the kernel's own value that it was last brought up to, and the boot that this
/// value belongs to: within a boot a restart loses and doubles nothing, whatever was not saved.
///
/// Until ``load(_:)`` has brought what was saved, nothing can be counted and every question is
/// answered with nil: a total that started again from 0 would look like many events later.
public final class MachineMemory: Sendable {
    /// One remembered number, as it is stored.
    struct Entry: Sendable, Equatable {
        /// What it counts, such as `undervoltage_events`, or a disk's key.
        var key: String
        /// Over all boots.
        var total: UInt64
        /// The kernel's own value, or a reading's place, that ``total`` was brought up to.
        var position: UInt64
        /// The boot that ``position`` belongs to.
        var boot: String

        /// Makes an entry.
        init(key: String, total: UInt64, position: UInt64, boot: String) {
            self.key = key
            self.total = total
            self.position = position
            self.boot = boot
        }
    }

    /// More keys than this are not remembered: media that come and go.
    static let entryLimit = 256
    static let keyLength = 128

    private struct State {
        var entries: [String: Entry] = [:]
        var isLoaded = false
        var changed: Set<String> = []
        var isUrgent = false
        var whenLoaded: @Sendable () -> Void = {}
    }

    private let boot: String
    private let state = Mutex(State())

    /// An empty memory of a machine in this boot.
    init(boot: String) {
        self.boot = boot
    }

    /// The kernel's name for the current boot; empty where it cannot be read.
    static func bootIdentifier(_ roots: HardwareRoots) -> String {
        let path = "\(roots.proc)/sys/kernel/random/boot_id"
        return ((try? SystemFile.text(path)) ?? nil).map { String($0.prefix(64)) } ?? ""
    }

    /// Brings what was saved; readings count from then on.
    func load(_ saved: [Entry]) {
        let whenLoaded = state.withLock { state in
            for entry in saved.prefix(Self.entryLimit) { state.entries[entry.key] = entry }
            state.isLoaded = true
            return state.whenLoaded
        }
        whenLoaded()
    }

    /// Calls `body` once it is loaded, also if it is already.
    func whenLoaded(_ body: @escaping @Sendable () -> Void) {
        let isLoaded = state.withLock { state in
            state.whenLoaded = body
            return state.isLoaded
        }
        if isLoaded { body() }
    }

    /// What changed since the last call, to be saved; whether something of it should be saved soon
    /// is told by ``isUrgent``.
    func takeChanges() -> [Entry] {
        state.withLock { state in
            defer {
                state.changed = []
                state.isUrgent = false
            }
            return state.changed.sorted().compactMap { state.entries[$0] }
        }
    }

    /// Marks entries as changed again: they could not be saved.
    func putBack(_ entries: [Entry]) {
        state.withLock { $0.changed.formUnion(entries.map(\.key)) }
    }

    /// Whether an event waits to be saved: rarer and dearer than numbers that always grow.
    var isUrgent: Bool { state.withLock { $0.isUrgent } }

    /// The total over all boots of a counter whose value in this boot the kernel says is `value`;
    /// nil until loaded. A value below the last one means that the kernel began again.
    func total(_ key: String, kernelCounter value: UInt64) -> UInt64? {
        update(key) { entry in
            entry.total &+= value >= entry.position ? value - entry.position : value
            entry.position = value
        }?.total
    }

    /// Adds events of our own counting, and says the total; nil until loaded.
    @discardableResult
    func add(_ events: UInt64, to key: String) -> UInt64? {
        update(key, isUrgent: events > 0) { $0.total &+= events }?.total
    }

    /// Adds events up to a position, both or neither: what is saved never counts an event twice.
    @discardableResult
    func add(_ events: UInt64, to key: String, position: UInt64) -> UInt64? {
        update(key, isUrgent: events > 0) {
            $0.total &+= events
            $0.position = position
        }?.total
    }

    /// Where in this boot a reading was, such as the last line that it has read: 0 in a new boot;
    /// nil until loaded.
    func position(_ key: String) -> UInt64? {
        state.withLock { state in
            guard state.isLoaded else { return nil }
            return state.entries[key].map { inThisBoot($0).position } ?? 0
        }
    }

    /// Remembers where in this boot a reading is.
    func setPosition(_ key: String, _ position: UInt64) {
        _ = update(key) { $0.position = position }
    }

    private func update(
        _ key: String, isUrgent: Bool = false, _ change: (inout Entry) -> Void
    ) -> Entry? {
        state.withLock { state in
            let key = String(key.prefix(Self.keyLength))
            guard state.isLoaded,
                state.entries[key] != nil || state.entries.count < Self.entryLimit
            else { return nil }
            let before = state.entries[key]
            var entry =
                before.map(inThisBoot) ?? Entry(key: key, total: 0, position: 0, boot: boot)
            change(&entry)
            guard entry != before else { return entry }
            state.entries[key] = entry
            state.changed.insert(key)
            state.isUrgent = state.isUrgent || isUrgent
            return entry
        }
    }
    /// The entry as this boot begins with it: a position of another one says nothing in this.
    ///
    /// Where the boot is not known it is taken for the last one: to count again what was counted
    /// would be worse than to miss something.
    private func inThisBoot(_ entry: Entry) -> Entry {
        guard !boot.isEmpty, entry.boot != boot else { return entry }
        return Entry(key: entry.key, total: entry.total, position: 0, boot: boot)
    }
}
