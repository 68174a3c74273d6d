// Where a service is to be found (RFC 2782).

/// One SRV record.
public struct ServiceRecord: Sendable, Equatable {
    /// The lowest is tried first; 0 to 65,535.
    public var priority: Int
    /// The share among those of the same priority; 0 to 65,535.
    public var weight: Int
    /// 1 to 65,535.
    public var port: Int
    /// A host's name in ASCII and lower case, without a dot at its end.
    public var target: String

    /// Creates a record.
    public init(priority: Int, weight: Int, port: Int, target: String) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }

    /// The order in which to try them (RFC 2782, "Weight"): by priority, and among equals at random
    /// by their weights.
    public static func ordered(
        _ records: [ServiceRecord], using generator: inout some RandomNumberGenerator
    ) -> [ServiceRecord] {
        ordered(records, by: { $0 }, using: &generator)
    }

    /// The same for what has a record each, such as those of several services.
    public static func ordered<Element>(
        _ elements: [Element], by record: (Element) -> ServiceRecord,
        using generator: inout some RandomNumberGenerator
    ) -> [Element] {
        var result: [Element] = []
        for (_, equals) in Dictionary(grouping: elements, by: { record($0).priority })
            .sorted(by: { $0.key < $1.key })
        {
            // Those without weight come first, so that they have a small chance.
            let shuffled = equals.shuffled(using: &generator)
            var rest =
                shuffled.filter { record($0).share == 0 }
                + shuffled.filter { record($0).share > 0 }
            while !rest.isEmpty {
                let total = rest.reduce(0) { $0 + record($1).share }
                var number = Int.random(in: 0...total, using: &generator)
                let index =
                    rest.firstIndex { element in
                        number -= record(element).share
                        return number <= 0
                    } ?? 0
                result.append(rest.remove(at: index))
            }
        }
        return result
    }

    private var share: Int { min(max(weight, 0), 65_535) }
}

/// What a look-up of services found.
public enum ServiceAnswer: Sendable, Equatable {
    /// Where it is, in the order of the answer; at least one.
    case records([ServiceRecord])
    /// There are no SRV records: the address of the domain itself counts.
    case none
    /// The domain says that it does not have the service (a single record with the target ".").
    case unavailable
}
