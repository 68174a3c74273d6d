// How a try ends, and what is to be loaded.

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

/// Rows of a circuit that are to be loaded.
struct DeliveryLoad: Sendable, Equatable {
    var circuit: String
    /// So many at most.
    var wakes: Int
    var parcels: Int
    /// Only those whose devices have another way: nothing is sent on this one.
    var isForPassing: Bool
}
