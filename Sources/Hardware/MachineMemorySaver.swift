// Brings what the readings remember from the database and back into it.
//
// THREADS: `turn` comes from the thread that plans the readings, the rest from start and stop.

public import Storage
import Synchronization

/// Keeps ``MachineMemory`` in the database: hourly, soon after an event, and at the end.
public final class MachineMemorySaver: Sendable {
    private struct State {
        var database: Database?
        var rhythm = SavingRhythm(start: .now)
    }

    private let memory: MachineMemory
    private let state = Mutex(State())

    /// Saves nothing before ``load(from:)``.
    public init(_ memory: MachineMemory) {
        self.memory = memory
    }

    /// Reads what was saved; the readings count from then on, and it is saved from then on.
    public func load(from database: Database) throws(StorageError) {
        memory.load(try database.readNow { try MachineMemoryStore.entries($0) })
        state.withLock { $0.database = database }
    }

    /// Saves what changed, if it is time to. Does not wait for the disk.
    public func turn() {
        let isUrgent = memory.isUrgent
        let due = state.withLock { state -> Database? in
            guard let database = state.database,
                state.rhythm.isDue(at: .now, isUrgent: isUrgent)
            else { return nil }
            return database
        }
        guard let due else { return }
        let entries = memory.takeChanges()
        guard !entries.isEmpty else { return }
        due.writer.submit { connection in
            try MachineMemoryStore.save(connection, entries)
        } then: { [memory, weak self] result in
            guard case .failure = result else { return }
            memory.putBack(entries)
            self?.state.withLock { $0.rhythm.failed(at: .now) }
        }
    }

    /// Saves what changed and waits for it, before the database is closed; saves no more then.
    public func finish() throws(StorageError) {
        let database = state.withLock { state in
            defer { state.database = nil }
            return state.database
        }
        guard let database else { return }
        let entries = memory.takeChanges()
        try database.writeNow { try MachineMemoryStore.save($0, entries) }
    }
}
