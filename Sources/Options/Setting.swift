// The value of one option, as the code that declared it reads it.

import Synchronization

/// The current value of an option.
///
/// Read on any thread; a reload changes it on the thread that reloads. Reading takes an
/// uncontended lock and copies the value, so it is cheap, but a loop over many stanzas reads it
/// once.
public final class Setting<Value: Sendable>: Sendable {
    private struct State {
        var value: Value
        var observers: [@Sendable (Value) -> Void] = []
    }

    private let state: Mutex<State>

    /// Makes a setting with a fixed value, for what is built without a configuration.
    public init(_ value: Value) {
        state = Mutex(State(value: value))
    }

    /// The value in force.
    public var value: Value {
        state.withLock { $0.value }
    }

    /// Calls `body` with the new value after each reload that changed it, on the thread that
    /// reloads and after all settings of that reload have changed. Never called for the value at
    /// the start. A registration lasts as long as the setting: register parts of the program,
    /// not connections.
    public func onChange(_ body: @escaping @Sendable (Value) -> Void) {
        state.withLock { $0.observers.append(body) }
    }

    /// Changes the value and gives what tells the observers.
    func set(_ value: Value) -> @Sendable () -> Void {
        let observers = state.withLock { state in
            state.value = value
            return state.observers
        }
        return { for observer in observers { observer(value) } }
    }
}
