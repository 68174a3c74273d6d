// The destination of an online copy: hands on each page and keeps none, so that the copy needs
// neither a second file nor the memory for one.

internal import GRDBSQLite
internal import Synchronization

/// Pages in the order in which they came.
public struct PageBuffer: Sendable {
    /// Their numbers, from 1.
    public private(set) var numbers: [UInt32] = []
    /// Their contents, one after the other.
    public private(set) var bytes: [UInt8] = []

    /// An empty one.
    public init() {}

    mutating func append(_ number: UInt32, _ page: UnsafeRawBufferPointer) {
        numbers.append(number)
        bytes.append(contentsOf: page)
    }

    mutating func replace(_ index: Int, _ page: UnsafeRawBufferPointer) {
        bytes.withUnsafeMutableBytes { buffer in
            guard (index + 1) * page.count <= buffer.count else { return }
            UnsafeMutableRawBufferPointer(
                rebasing: buffer[(index * page.count)..<((index + 1) * page.count)]
            ).copyMemory(from: page)
        }
    }

    /// Forgets the pages and keeps the memory.
    public mutating func clear() {
        numbers.removeAll(keepingCapacity: true)
        bytes.removeAll(keepingCapacity: true)
    }
}

/// Written to on the writer's thread, emptied on the copy's.
///
/// What a step copies is taken after the step. What the writer changes of it afterwards is kept
/// back, since the same few pages change with every message: it is taken when there is much of it,
/// and at the end.
final class PageSink: PageFile, Sendable {
    private struct State {
        var fresh = PageBuffer()
        var changed = PageBuffer()
        /// Where a page is in `changed`.
        var places: [UInt32: Int] = [:]
        /// The first page. SQLite keeps it to the end.
        var first: [UInt8] = []
        var pageSize = 0
        var size: Int64 = 0
        var isStepping = false
        var isOverflown = false
        var rewrites = 0
    }

    private let state = Mutex(State())
    /// Bytes of changed pages that it keeps back at most.
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// More changed than was taken: some of it is lost, and the copy has to begin again.
    var isOverflown: Bool { state.withLock { $0.isOverflown } }

    /// Bytes of changed pages that are kept back.
    var changedBytes: Int { state.withLock { $0.changed.bytes.count } }

    /// The first page, at the end.
    var first: [UInt8] { state.withLock { $0.first } }

    /// Begins again with nothing.
    func reset() { state.withLock { $0 = State() } }

    /// Whether a step is under way.
    func setStepping(_ isStepping: Bool) { state.withLock { $0.isStepping = isStepping } }

    /// Pages that came again since this was last asked.
    func takeRewrites() -> Int {
        state.withLock { state in
            defer { state.rewrites = 0 }
            return state.rewrites
        }
    }

    /// Exchanges the pages that the last step copied for an empty buffer.
    func takeFresh(_ buffer: inout PageBuffer) {
        buffer.clear()
        state.withLock { swap(&$0.fresh, &buffer) }
    }

    /// The same for what changed since it was copied. It belongs after what was taken before.
    func takeChanged(_ buffer: inout PageBuffer) {
        buffer.clear()
        state.withLock { state in
            swap(&state.changed, &buffer)
            state.places.removeAll(keepingCapacity: true)
        }
    }

    // MARK: PageFile

    var size: Int64 { state.withLock { $0.size } }

    /// SQLite reads a page before it overwrites all of it; zeros will do.
    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int32 { SQLITE_OK }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Int32 {
        state.withLock { state in
            if state.pageSize == 0 { state.pageSize = bytes.count }
            let (index, rest) = offset.quotientAndRemainder(dividingBy: Int64(bytes.count))
            guard bytes.count == state.pageSize, rest == 0, index < Int64(UInt32.max),
                !state.isOverflown
            else { return SQLITE_FULL }
            state.size = max(state.size, offset + Int64(bytes.count))
            let number = UInt32(index + 1)
            if number == 1 {
                state.first = Array(bytes)
            } else if let place = state.places[number] {
                state.changed.replace(place, bytes)
                state.rewrites += 1
            } else if state.isStepping {
                state.fresh.append(number, bytes)
            } else {
                guard state.changed.bytes.count + bytes.count <= limit else {
                    state.isOverflown = true
                    state.changed.clear()
                    state.places.removeAll()
                    return SQLITE_FULL
                }
                state.places[number] = state.changed.numbers.count
                state.changed.append(number, bytes)
                state.rewrites += 1
            }
            return SQLITE_OK
        }
    }

    func truncate(to size: Int64) -> Int32 {
        state.withLock { $0.size = size }
        return SQLITE_OK
    }
}
