// The numbers behind counters and histograms: one row per event loop, so that counting on one
// loop never takes a cache line away from another.

// Public, because counting is inlined into the callers.
public import Synchronization

/// A grid of atomic numbers: a row (cell) per event loop, a column (slot) per value.
///
/// Rows start on their own cache line. Every access is relaxed: a number is complete by itself and
/// orders nothing else.
///
/// `@unchecked Sendable`: `base` is set once and points to atomics only, which any thread may
/// use; the memory is freed when the last reference goes, so nobody can use it later.
@usableFromInline
final class CellBlock: @unchecked Sendable {
    /// Bytes of a cache line on x86-64 and on the Cortex-A72 and A76 of a Raspberry Pi.
    private static let line = 64

    @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
    @usableFromInline let cells: Int
    @usableFromInline let stride: Int
    @usableFromInline let slots: Int

    init(cells: Int, slots: Int) {
        precondition(cells > 0 && slots > 0)
        let perLine = Self.line / MemoryLayout<Atomic<UInt64>>.stride
        self.cells = cells
        self.slots = slots
        stride = (slots + perLine - 1) / perLine * perLine
        let count = cells * stride
        base =
            UnsafeMutableRawPointer.allocate(
                byteCount: count * MemoryLayout<Atomic<UInt64>>.stride, alignment: Self.line
            )
            .bindMemory(to: Atomic<UInt64>.self, capacity: count)
        for index in 0..<count {
            (base + index).initialize(to: Atomic(0))
        }
    }

    deinit {
        base.deinitialize(count: cells * stride)
        UnsafeMutableRawPointer(base).deallocate()
    }

    /// A cell that does not exist is cell 0: it costs contention, never a trap.
    @inlinable
    func index(_ slot: Int, _ cell: Int) -> Int {
        assert((0..<slots).contains(slot))
        return (cell > 0 && cell < cells ? cell &* stride : 0) &+ slot
    }

    /// Adds to an integer slot.
    @inlinable
    func add(_ n: UInt64, slot: Int, cell: Int) {
        base[index(slot, cell)].wrappingAdd(n, ordering: .relaxed)
    }

    /// The sum of an integer slot over all cells.
    func total(slot: Int) -> UInt64 {
        (0..<cells).reduce(0) { $0 &+ base[index(slot, $1)].load(ordering: .relaxed) }
    }

    /// Adds to a slot that holds a floating-point number.
    func add(_ value: Double, slot: Int, cell: Int) {
        let index = index(slot, cell)
        var old = base[index].load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + value).bitPattern
            let result = base[index].weakCompareExchange(
                expected: old, desired: new, ordering: .relaxed)
            if result.exchanged { return }
            old = result.original
        }
    }

    /// The sum of a floating-point slot over all cells.
    func sum(slot: Int) -> Double {
        (0..<cells).reduce(0) {
            $0 + Double(bitPattern: base[index(slot, $1)].load(ordering: .relaxed))
        }
    }
}
