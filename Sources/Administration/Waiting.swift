// A thread waits for a value that another thread brings.

internal import Dispatch
internal import Synchronization

final class Waiting<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    private let done = DispatchSemaphore(value: 0)

    func finish(_ value: Value) {
        self.value.withLock { $0 = value }
        done.signal()
    }

    func wait() -> Value {
        while true {
            done.wait()
            if let value = value.withLock({ $0 }) { return value }
        }
    }

    /// The value, nil if it does not come in time.
    func wait(until end: DispatchTime) -> Value? {
        guard done.wait(timeout: end) == .success else { return nil }
        return value.withLock { $0 }
    }
}
