// How a try ends.

/// What became of one that was under way.
enum DeliveryEnd: Sendable, Equatable {
    case sent
    /// It is tried again, at this time (milliseconds since 1970); it has failed so often.
    case later(due: Int64, tries: Int)
    /// It waits here for its circuit.
    case waiting
    /// The device's next token is tried.
    case passedOn(disables: Bool)
    /// It is given up.
    case dead(disables: Bool)
}
